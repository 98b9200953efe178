"""Fixtures for all tests: a real PostgreSQL server, a database for each test, and the service on it."""

import os
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from embedded.postgres import Embedded
from service.postgres.migrations import migrate
from service.postgres.pool import Pool
from service.postgres.queries import Query
from tests.support import guard
from tests.support.api import BROWSER, Api, serve, settings
from tests.support.better_auth_process import install
from tests.support.commands import is_setting
from tests.support.databases import Template, database, role
from tests.support.distributed import distributed
from tests.support.pgbouncer import pooler
from tests.support.programs import summary
from tests.support.service_process import ServiceProcess, start_service
from tests.support.service_role import grant

NO_PROXY = "localhost,127.0.0.1,::1"
GUARD = pytest.StashKey[subprocess.Popen[bytes]]()


def pytest_configure(config: pytest.Config) -> None:
    """Removes the caller's settings from the environment, and starts the guard that ends leftover processes."""
    os.environ.update({"NO_PROXY": NO_PROXY, "no_proxy": NO_PROXY})
    for name in filter(is_setting, list(os.environ)):
        del os.environ[name]
    if not hasattr(config, "workerinput"):  # else this is a worker of xdist
        config.stash[GUARD] = guard.start()


def pytest_unconfigure(config: pytest.Config) -> None:
    if process := config.stash.get(GUARD, None):
        guard.stop(process)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in summary([report.longrepr[2] for report in terminalreporter.stats.get("skipped", [])]):
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The service's own event loop: timers, buffers and transports behave differently on asyncio's."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The URL of a PostgreSQL server, with a role that may create databases and roles."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="todo-tests-", dir=guard.folder_for_databases()) as folder:
        embedded = Embedded(Path(folder) / "data", say=lambda _: None)
        try:
            embedded.start()
            with psycopg.connect(embedded.url, autocommit=True) as owner:
                for name in ("fsync", "synchronous_commit", "full_page_writes"):
                    owner.execute(SQL("alter system set {} = off").format(Identifier(name)))
                owner.execute("alter system set max_wal_size = '256MB'")  # the data may lie in memory
                owner.execute("select pg_reload_conf()")
            yield embedded.url
        finally:
            embedded.stop()


@pytest.fixture(scope="session")
def template(server: str) -> Iterator[Template]:
    """A migrated database with the service's role. PostgreSQL copies it only while no client is connected to it."""
    if os.environ.get("TEST_THROUGH") == "citus":
        yield distributed()
        return
    with role(server) as (name, password), database(server) as migrated, pooler(server, name, password) as address:
        template = Template(server, migrated, name, password, address)
        migrate(template.owner_url(migrated))
        with psycopg.connect(template.owner_url(migrated)) as owner:
            grant(owner, name)
        yield template


@pytest.fixture
def database_name(template: Template) -> Iterator[str]:
    """The name of a new migrated database for this test."""
    with template.copy() as name:
        yield name


@pytest.fixture
def owner_url(template: Template, database_name: str) -> str:
    """The URL of this test's database, with the role that owns its tables."""
    return template.owner_url(database_name)


@pytest.fixture
def database_url(template: Template, database_name: str) -> str:
    """The URL of this test's database, with the service's role, which may only read and write rows."""
    return template.service_url(database_name)


@pytest.fixture
def owner(owner_url: str) -> Iterator[psycopg.Connection]:
    """A connection of the owner, to look at rows and to change the schema."""
    with psycopg.connect(owner_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def api(database_url: str, owner: psycopg.Connection) -> AsyncIterator[Api]:
    """A client of the service, which runs in this process."""
    async with serve(settings(database_url), owner) as api:
        yield api


@pytest.fixture
async def api_without_database() -> AsyncIterator[Api]:
    """A client of a service without its database: the database's port is bound, but no process listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"postgresql://todo:todo@127.0.0.1:{taken.getsockname()[1]}/todo"
        async with serve(settings(url)) as api:
            yield api


@pytest.fixture(scope="session")
def better_auth_app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an installed Better Auth."""
    return install(tmp_path_factory.mktemp("better-auth"))


@pytest.fixture(scope="module")
def service_database(template: Template) -> Iterator[str]:
    """The database of this module's `service`."""
    with template.copy() as name:
        yield name


@pytest.fixture(scope="module")
def service(template: Template, service_database: str) -> Iterator[ServiceProcess]:
    """The service as a process, for tests that need real HTTP."""
    with start_service(template.service_url(service_database)) as service:
        yield service


@pytest.fixture
async def http_api(template: Template, service: ServiceProcess, service_database: str) -> AsyncIterator[Api]:
    """A client of that process."""
    with psycopg.connect(template.owner_url(service_database), autocommit=True) as owner:
        async with httpx.AsyncClient(base_url=service.url, headers=BROWSER, timeout=30) as client:
            yield Api(client, owner)


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the statements that the service sends from now on, in order."""
    sent: list[str] = []
    one = Pool.fetch_one

    async def noted(database: Pool, query: Query, *args: Any, **others: Any) -> Any:
        sent.append(query.name)
        return await one(database, query, *args, **others)

    monkeypatch.setattr(Pool, "fetch_one", noted)
    return sent
