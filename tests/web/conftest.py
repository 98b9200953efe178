"""The service and a user for raw HTTP. After every test, the service must still answer and have logged no traceback."""

import time
import uuid
from collections.abc import Iterator

import psycopg
import pytest

from tests.support.api import token
from tests.support.databases import Template
from tests.support.raw_http import LIVEZ, exchange
from tests.support.service_process import ServiceProcess


@pytest.fixture
def service(service: ServiceProcess) -> Iterator[ServiceProcess]:
    yield service
    began = time.monotonic()
    assert exchange(service.port, LIVEZ).status_code == 200
    assert time.monotonic() - began < 5
    log = service.log.read_text()
    assert "Traceback" not in log, log[-4000:]


@pytest.fixture(scope="module")
def user(template: Template, service_database: str) -> str:
    """The token of an existing user."""
    user_id = str(uuid.uuid4())
    with psycopg.connect(template.owner_url(service_database), autocommit=True) as owner:
        owner.execute("insert into users (id, email, password_hash) values (%s, 'a@example.com', '')", (user_id,))
    return token(user_id=user_id, email="a@example.com")
