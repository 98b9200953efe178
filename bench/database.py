"""The PostgreSQL of a benchmark run: the embedded programs, a temporary folder, a port on loopback."""

import hashlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from embedded.programs import as_owner_of, find_programs

ROOT = Path(__file__).resolve().parent.parent
SQL = Path(__file__).resolve().parent / "sql"

MEMORY = Path("/dev/shm")
MEMORY_NEEDED = 8 * 2**30
MEMORY_MB = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20

# Background work on a timer must not disturb only one contestant's measurement, so vacuum and checkpoint run between
# measurements. The settings for durable commits stay at their defaults.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "300",
    "shared_buffers": f"{MEMORY_MB // 4}MB",  # the starting value in PostgreSQL's manual
    "max_wal_size": "16GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
    "timezone": "UTC",
}


@dataclass(frozen=True)
class Database:
    """A running server and its one database."""

    url: str
    programs: Path
    settings: dict[str, str]
    home: Path

    def run(self, file: str, **values: object) -> list[tuple[Any, ...]]:
        """Runs the one statement of `bench/sql/<file>`."""
        # The rows satisfy the foreign keys; checking millions of them would take most of the time.
        options = "-c session_replication_role=replica"
        with psycopg.connect(self.url, autocommit=True, options=options) as connection:
            cursor = connection.execute((SQL / file).read_bytes(), values)
            return cursor.fetchall() if cursor.description else []

    def another(self, name: str) -> "Database":
        """A second database of the same server, migrated and empty."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        url = self.url.removesuffix("/postgres") + f"/{name}"
        migrate(url)
        return replace(self, url=url)

    def settle(self) -> None:
        """Runs the background work now that PostgreSQL would otherwise do during a measurement."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("vacuum (analyze) tasks")
            connection.execute("checkpoint")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def user_id(number: int) -> UUID:
    """The id that `fill.sql` gives to the user with this number."""
    return UUID(hashlib.md5(f"user {number}".encode(), usedforsecurity=False).hexdigest())


def fastest_folder() -> Path:
    """A file system in memory if there is one: a disk slows all contestants, and its speed varies."""
    return MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MEMORY_NEEDED else Path(tempfile.gettempdir())


@contextmanager
def server(folder: Path | None = None) -> Iterator[Database]:
    """Starts PostgreSQL with its data below `folder`, applies the service's migrations, and removes everything at the
    end."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the handler also stops what was started before
    programs = find_programs()
    home = Path(tempfile.mkdtemp(prefix="bench-postgres-", dir=folder))
    if os.geteuid() == 0:
        shutil.chown(home, "nobody")
    settings = SETTINGS | {"port": str(free_port()), "unix_socket_directories": str(home)}
    password = secrets.token_hex(16)
    (home / "password").write_text(password)

    def command(program: str, *arguments: str) -> list[str]:
        return [*as_owner_of(home), str(programs / program), "-D", str(home / "data"), *arguments]

    initdb = command("initdb", "-U", "bench", "-A", "scram-sha-256", f"--pwfile={home / 'password'}", "-E", "UTF8")
    subprocess.run([*initdb, "--locale=C"], cwd=home, check=True, stdout=subprocess.DEVNULL)
    options = [f"-c{name}={value}" for name, value in settings.items()]
    with (home / "log").open("wb") as log:
        postgres = subprocess.Popen(
            command("postgres", *options), cwd=home, stdout=log, stderr=log, start_new_session=True
        )
    url = f"postgresql://bench:{password}@127.0.0.1:{settings['port']}/postgres"
    try:
        wait(url, postgres, home / "log")
        migrate(url)
        yield Database(url, programs, settings, home)
    finally:
        postgres.send_signal(signal.SIGQUIT)  # immediate shutdown: the data is not kept
        postgres.wait()
        shutil.rmtree(home)


def wait(url: str, postgres: subprocess.Popen[bytes], log: Path) -> None:
    while True:
        try:
            psycopg.connect(url).close()
            return
        except psycopg.OperationalError:
            if postgres.poll() is not None:
                sys.exit(f"The benchmark's PostgreSQL did not start:\n{log.read_text()}")
            time.sleep(0.05)


def migrate(url: str) -> None:
    environment = os.environ | {"DATABASE_URL": url, "MIGRATION_DATABASE_URL": url}
    command = [sys.executable, "-m", "service", "migrate"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
