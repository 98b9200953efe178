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
def service_and_user(template: Template) -> Iterator[tuple[ServiceProcess, str]]:
    user_id = str(uuid.uuid4())
    with template.copy() as name, start_service(template.service_url(name)) as service:
        with psycopg.connect(template.owner_url(name), autocommit=True) as owner:
            owner.execute("insert into users (id, email, password_hash) values (%s, 'a@example.com', '')", (user_id,))
        yield service, token(user_id=user_id, email="a@example.com")


@pytest.fixture
def service(service_and_user: tuple[ServiceProcess, str]) -> Iterator[ServiceProcess]:
    service, _ = service_and_user
    yield service
    began = time.monotonic()
    assert exchange(service.port, LIVEZ).status_code == 200
    assert time.monotonic() - began < 5
    log = service.log.read_text()
    assert "Traceback" not in log, log[-4000:]


@pytest.fixture
def user(service_and_user: tuple[ServiceProcess, str]) -> str:
    """The token of a user who exists."""
    return service_and_user[1]
