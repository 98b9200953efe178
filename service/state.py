"""What the lifespan makes once for each worker and every request uses."""

from typing import TypedDict, cast

from starlette.types import Scope

from service.auth.login_limits import LoginLimits
from service.auth.passwords import Passwords
from service.auth.tokens import Tokens
from service.body_memory import BodyMemory
from service.postgres.health_probe import DatabaseProbe
from service.postgres.pool import Pool
from service.task_limit import TaskLimit


class State(TypedDict):
    body_memory: BodyMemory
    idempotency_secret: bytes
    login_limits: LoginLimits
    passwords: Passwords
    pool: Pool
    probe: DatabaseProbe
    task_limit: TaskLimit
    tokens: Tokens


def state_of(scope: Scope) -> State:
    """The state that the server puts into a request's scope. Starlette's `request.state` makes two more objects."""
    return cast(State, scope["state"])
