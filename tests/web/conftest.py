"""The service and a user for raw HTTP. After every test, the service must still answer and have logged no traceback."""

import time
from collections.abc import Iterator

import psycopg
import pytest

from tests.support.api import insert_user
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
    with psycopg.connect(template.owner_url(service_database), autocommit=True) as owner:
        return insert_user(owner).token
