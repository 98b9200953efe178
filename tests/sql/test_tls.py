"""Connection strings with a real PostgreSQL, with and without TLS: which connect, and which are refused."""

import asyncio
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import asyncpg
import psycopg
import pytest
import uvloop
from yoyo import get_backend

from service.postgres import connection_string
from tests.support.tls import PASSWORD, Server, postgres


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres(tls=True) as server:
        yield server


@pytest.fixture(scope="module")
def without_tls() -> Iterator[Server]:
    with postgres(tls=False) as server:
        yield server


async def _with_asyncpg(target: connection_string.Target, sql: str) -> Any:
    connection = await asyncpg.connect(**target.connect)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


def on_asyncio(target: connection_string.Target, sql: str) -> Any:
    return asyncio.run(_with_asyncpg(target, sql))


def on_uvloop(target: connection_string.Target, sql: str) -> Any:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_with_asyncpg(target, sql))


def with_psycopg(target: connection_string.Target, sql: str) -> Any:
    with psycopg.connect(**target.libpq) as connection:  # type: ignore[arg-type]
        row = connection.execute(sql.encode()).fetchone()
        assert row
        return row[0]


each_driver = pytest.mark.parametrize("run", [on_asyncio, on_uvloop, with_psycopg])
ENCRYPTED = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
# The errors of asyncpg and of psycopg.
REFUSED = (OSError, psycopg.OperationalError)


@each_driver
@pytest.mark.parametrize(
    ("query", "host", "encrypted"),
    [
        ("sslrootcert={authority}", "", True),
        ("sslmode=require&sslrootcert={authority}", "", True),
        ("sslmode=verify-ca&sslrootcert={authority}", "localhost", True),
        ("sslmode=no-verify", "", True),
        ("sslmode=disable", "", False),
        ("sslmode=require", "localhost", True),
        ("sslmode=prefer", "localhost", False),
        ("", "{folder}", False),
    ],
)
def test_a_good_connection_string_connects(server: Server, run: Any, query: str, host: str, encrypted: bool) -> None:
    host = host.format(folder=str(server.folder).replace("/", "%2F"))
    target = connection_string.parse(server.url(query.format(authority=server.authority), host))
    assert run(target, ENCRYPTED) is encrypted


@each_driver
@pytest.mark.parametrize(
    ("query", "host", "reason"),
    [
        ("", "", "certificate verify failed"),
        ("sslmode=require&channel_binding=require", "", "certificate verify failed"),
        ("sslrootcert=system", "", "certificate verify failed"),
        ("sslmode=verify-ca", "localhost", "certificate verify failed"),
        ("sslmode=verify-full&sslrootcert={authority}", "127.0.0.1", "mismatch|does not match"),
        ("sslmode=verify-full&sslrootcert={authority}", "localhost", "mismatch|does not match"),
    ],
)
def test_an_untrusted_certificate_is_refused(server: Server, run: Any, query: str, host: str, reason: str) -> None:
    target = connection_string.parse(server.url(query.format(authority=server.authority), host))
    with pytest.raises(REFUSED, match=reason):
        run(target, ENCRYPTED)


@each_driver
@pytest.mark.parametrize("query", ["", "sslmode=prefer", "sslmode=no-verify", "sslrootcert={authority}"])
def test_a_server_without_tls_is_refused(without_tls: Server, run: Any, query: str) -> None:
    target = connection_string.parse(without_tls.url(query.format(authority=without_tls.authority)))
    with pytest.raises(REFUSED, match=r"rejected SSL upgrade|server does not support SSL"):
        run(target, ENCRYPTED)
    assert run(connection_string.parse(without_tls.url("sslmode=disable")), ENCRYPTED) is False


@each_driver
def test_options_and_application_name_reach_the_server(server: Server, run: Any) -> None:
    url = server.url(
        f"sslrootcert={server.authority}&application_name=todo%20list&options=-c%20statement_timeout%3D4321"
    )
    sql = "select current_setting('statement_timeout') || ' ' || current_setting('application_name')"
    assert run(connection_string.parse(url), sql) == "4321ms todo list"


@each_driver
def test_a_client_certificate_is_sent(server: Server, run: Any) -> None:
    files = f"sslrootcert={server.authority}&sslcert={server.folder}/server.crt&sslkey={server.folder}/client.key"
    target = connection_string.parse(server.url(f"{files}&sslpassword={quote(PASSWORD)}"))
    assert run(target, "select client_dn from pg_stat_ssl where pid = pg_backend_pid()") == "/CN=server"


def test_yoyo_connects(server: Server) -> None:
    target = connection_string.parse(server.url(f"sslrootcert={server.authority}&connect_timeout=5"))
    backend = get_backend(target.yoyo_url)
    try:
        assert backend.execute("select current_database(), current_user").fetchone() == ("post it", "some one")
        assert backend.execute(ENCRYPTED).fetchone() == (True,)
    finally:
        backend.connection.close()


def test_the_drivers_error_does_not_show_the_password(server: Server) -> None:
    target = connection_string.parse(server.url(f"sslrootcert={server.authority}").replace("post%20it", "absent"))
    with pytest.raises(asyncpg.InvalidCatalogNameError) as refusal:
        on_asyncio(target, ENCRYPTED)
    assert PASSWORD not in repr(refusal.value)
