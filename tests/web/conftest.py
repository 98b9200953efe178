"""A service and a user for hand-written HTTP; after every test the service must serve others at once."""

import time
import uuid
from collections.abc import Iterator

import psycopg
import pytest

from tests.support.api import token
from tests.support.databases import Template
from tests.support.http_wire import LIVEZ, exchange
from tests.support.service_process import ServiceProcess, start_service


@pytest.fixture(scope="package")
def served_and_user(template: Template) -> Iterator[tuple[ServiceProcess, str]]:
    user_id = str(uuid.uuid4())
    with template.copy() as name, start_service(template.service_url(name)) as served:
        with psycopg.connect(template.owner_url(name), autocommit=True) as owner:
            owner.execute("insert into users (id, email, password_hash) values (%s, 'a@example.com', '')", (user_id,))
        yield served, token(user_id=user_id, email="a@example.com")


@pytest.fixture
def served(served_and_user: tuple[ServiceProcess, str]) -> Iterator[ServiceProcess]:
    served, _ = served_and_user
    yield served
    began = time.monotonic()
    assert exchange(served.port, LIVEZ).status_code == 200
    assert time.monotonic() - began < 5
    log = served.log.read_text()
    assert "Traceback" not in log, log[-4000:]


@pytest.fixture
def user(served_and_user: tuple[ServiceProcess, str]) -> str:
    """The token of a user who exists."""
    return served_and_user[1]
