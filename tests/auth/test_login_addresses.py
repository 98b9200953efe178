"""The client address that failed log-ins are counted for, over real HTTP, with and without trusted proxies."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import bcrypt
import httpx
import psycopg
import pytest

from tests.support.answers import assert_error
from tests.support.api import PASSWORD
from tests.support.databases import Template
from tests.support.flooders import post
from tests.support.service_process import ServiceProcess, start_service

ADA = "ada@example.com"
LIMIT = 3


@pytest.fixture(scope="module")
def database(template: Template) -> Iterator[str]:
    """The name of a database with one account. Its hash has a low cost, which the limits do not depend on."""
    stored = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    with template.copy() as name, psycopg.connect(template.owner_url(name), autocommit=True) as owner:
        insert = "insert into users (id, email, password_hash) values (gen_random_uuid(), %s, %s)"
        owner.execute(insert, (ADA, stored))
        yield name


@contextmanager
def limited(template: Template, name: str, **others: str) -> Iterator[ServiceProcess]:
    with start_service(template.service_url(name), LOGIN_FAILURE_LIMIT=str(LIMIT), **others) as service:
        yield service


@pytest.fixture(scope="module")
def behind_proxy(template: Template, database: str) -> Iterator[ServiceProcess]:
    with limited(template, database, TRUSTED_PROXIES="127.0.0.1, 10.0.0.0/8", WORKERS="2") as service:
        yield service


@pytest.fixture(scope="module")
def without_proxy(template: Template, database: str) -> Iterator[ServiceProcess]:
    with limited(template, database) as service:
        yield service


@pytest.fixture(autouse=True)
def clear_login_attempts(template: Template, database: str) -> None:
    with psycopg.connect(template.owner_url(database), autocommit=True) as owner:
        owner.execute("delete from login_attempts")


def log_in(service: ServiceProcess, password: str, *forwarded_for: str) -> httpx.Response:
    """A log-in on a new connection, so that any worker may answer."""
    headers = [("X-Forwarded-For", each.encode("latin-1")) for each in forwarded_for]
    sent = {"email": ADA, "password": password}
    return httpx.post(f"{service.url}/api/auth/login", json=sent, headers=headers)  # type: ignore[arg-type]


def lock(service: ServiceProcess, *forwarded_for: str) -> None:
    for _ in range(LIMIT):
        assert_error(log_in(service, "a wrong password", *forwarded_for), 401, "Invalid email or password")
    assert_error(log_in(service, PASSWORD, *forwarded_for), 429)


def test_clients_behind_a_trusted_proxy_are_limited_separately(behind_proxy: ServiceProcess) -> None:
    lock(behind_proxy, "192.0.2.1")
    assert log_in(behind_proxy, PASSWORD, "192.0.2.2").status_code == 200
    assert_error(log_in(behind_proxy, PASSWORD, "192.0.2.1"), 429)


@pytest.mark.parametrize(
    "forwarded_for",
    [
        ["198.51.100.7, 192.0.2.1"], ["198.51.100.7", "192.0.2.1"], ["192.0.2.1:40000"], ["::ffff:192.0.2.1"],
        ["192.0.2.1, 10.1.2.3"], ["unknown, , \xff, 192.0.2.1"], [f"{'9' * 5000}, 192.0.2.1"],
    ],
)  # fmt: skip
def test_a_forged_x_forwarded_for_does_not_evade_the_limit(
    behind_proxy: ServiceProcess, forwarded_for: list[str]
) -> None:
    """A proxy appends the address that it sees; the last address that is not a trusted proxy counts."""
    lock(behind_proxy, "192.0.2.1")
    assert_error(log_in(behind_proxy, PASSWORD, *forwarded_for), 429)


@pytest.mark.parametrize("garbage", ["", ",", "nonsense", "\xff\xfe", "1" * 10_000, "[::1", "' or 1=1 --", "127.0.0.1"])
def test_an_invalid_address_from_a_trusted_proxy_is_limited_too(behind_proxy: ServiceProcess, garbage: str) -> None:
    lock(behind_proxy, garbage)
    assert log_in(behind_proxy, PASSWORD, "192.0.2.1").status_code == 200


def test_without_a_trusted_proxy_x_forwarded_for_is_ignored(without_proxy: ServiceProcess) -> None:
    lock(without_proxy, "192.0.2.1")
    assert_error(log_in(without_proxy, PASSWORD, "192.0.2.2"), 429)
    assert_error(log_in(without_proxy, PASSWORD), 429)


def test_workers_and_processes_share_the_failure_count(
    behind_proxy: ServiceProcess, without_proxy: ServiceProcess
) -> None:
    for number in range(LIMIT):
        service = (behind_proxy, without_proxy)[number % 2]
        assert_error(log_in(service, "a wrong password"), 401, "Invalid email or password")
    for _ in range(8):
        assert_error(log_in(behind_proxy, PASSWORD), 429)
        assert_error(log_in(without_proxy, PASSWORD), 429)


def test_passwords_of_disconnected_clients_are_not_hashed(template: Template) -> None:
    """Sign-ups whose connections are closed at once must not keep bcrypt busy."""
    with template.copy() as name, start_service(template.service_url(name), LOGIN_FAILURE_LIMIT="0") as service:
        waiting = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(8)]
        for each in waiting:
            each.sendall(post("login", ADA, PASSWORD))
        time.sleep(0.1)
        for number in range(10):
            with socket.create_connection(("127.0.0.1", service.port)) as closed:
                closed.sendall(post("signup", f"new{number}@example.com", PASSWORD))
        for each in waiting:
            assert each.recv(12) in (b"HTTP/1.1 401", b"HTTP/1.1 503")
            each.close()
        last = {"email": "last@example.com", "password": PASSWORD}
        assert httpx.post(f"{service.url}/api/auth/signup", json=last, timeout=20).status_code == 201
        with psycopg.connect(template.owner_url(name)) as owner:
            assert owner.execute("select array_agg(email) from users").fetchone() == (["last@example.com"],)
