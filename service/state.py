"""What the lifespan makes and every request finds in `request.state`."""

from typing import TypedDict

from service.attempts import Attempts
from service.auth import Tokens
from service.database import Database
from service.passwords import Passwords


class State(TypedDict):
    attempts: Attempts
    database: Database
    passwords: Passwords
    tokens: Tokens
