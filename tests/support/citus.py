"""A Citus cluster on loopback: a coordinator and two workers, run by the PostgreSQL in the folder CITUS_BIN.

It begins as a single PostgreSQL with rows and the service's role; `shard` runs the commands of specs/scaling.md.
"""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import psycopg
import pytest

from embedded.programs import as_owner_of
from service.postgres.migrations import migrate
from tests.support.commands import PROJECT

COORDINATOR, *WORKERS = NODES = ("127.0.0.10", "127.0.0.11", "127.0.0.12")
WANTED = (
    "CITUS_BIN names no PostgreSQL with Citus: install the Citus package for your PostgreSQL, or build it from source, "
    "and set CITUS_BIN to the folder with postgres, initdb and psql"
)
SECONDS = 30
"""How long a node may take to start or to stop."""
SETTINGS = """
shared_preload_libraries = 'citus'
wal_level = logical
max_connections = 300
unix_socket_directories = ''
timezone = UTC
log_timezone = UTC
"""


class Cluster:
    """`processes` holds the nodes that run. Their settings are PostgreSQL's defaults: fsync and all."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._programs = programs
        self.passwords = {role: secrets.token_hex(16) for role in ("postgres", "todo_owner", "todo_service")}
        self._passfile = folder / "passfile"
        self._passfile.touch(mode=0o600)
        self._passfile.write_text("".join(f"*:*:*:{role}:{word}\n" for role, word in self.passwords.items()))

    def url(self, role: str = "todo_service", node: str = COORDINATOR, database: str = "todo") -> str:
        return f"postgresql://{role}:{self.passwords[role]}@{node}:{self.port}/{database}"

    def connect(self, role: str = "todo_owner", node: str = COORDINATOR) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url(role, node), autocommit=True)

    def create(self, node: str) -> None:
        data, password = self.folder / node, self.folder / "password"
        data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            shutil.chown(data, "nobody")
        password.write_text(self.passwords["postgres"])
        arguments = ["-U", "postgres", "--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8", "--locale=C"]
        command = [*as_owner_of(data), str(self._programs / "initdb"), "-D", str(data), *arguments]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True, timeout=SECONDS)
        address = f"listen_addresses = '{node}'\ncitus.local_hostname = '{node}'\nport = {self.port}\n"
        with (data / "postgresql.conf").open("a") as settings:
            settings.write(SETTINGS + address)

    def start(self, node: str) -> None:
        data = self.folder / node
        log = data / "server.log"
        with log.open("ab") as output:
            self.processes[node] = subprocess.Popen(
                [*as_owner_of(data), str(self._programs / "postgres"), "-D", str(data)],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            )  # fmt: skip
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                psycopg.connect(self.url("postgres", node, "postgres")).close()
                return
            except psycopg.OperationalError as error:
                if self.processes[node].poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{node} did not start: {error}\n{log.read_text()}") from error
            time.sleep(0.05)

    def stop(self, node: str) -> None:
        """As `pg_ctl stop -m immediate`: without a checkpoint, so that the next start has to recover."""
        process = self.processes.pop(node)
        process.send_signal(signal.SIGQUIT)
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(SECONDS)
            raise

    def steps(self) -> list[str]:
        """The commands of specs/scaling.md, in order, with this cluster's addresses in place of its."""
        text = (PROJECT / "specs" / "scaling.md").read_text("utf-8")
        blocks = re.findall(r"^ *```sh\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
        return [dedent(block).replace("10.0.0.", "127.0.0.").replace("5432", str(self.port)) for block in blocks]

    def shard(self) -> None:
        for step in self.steps():
            self.run(step)

    def refusal(self, step: str) -> str:
        """The one error message of psql for a step that it refuses."""
        done = self._shell(step)
        errors = re.findall(r"ERROR:  (.*)", done.stderr)
        assert done.returncode and len(errors) == len(done.stderr.splitlines()) == 1, done.stderr
        return str(errors[0])

    def run(self, script: str) -> str:
        """The output of a shell script, with psql in PATH, and the port and the passwords in the environment."""
        done = self._shell(script)
        if done.returncode:
            raise RuntimeError(f"{script}\nended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def _shell(self, script: str) -> subprocess.CompletedProcess[str]:
        values = {f"{role.upper()}_PASSWORD": password for role, password in self.passwords.items()}
        values |= {"PGPORT": str(self.port), "PGPASSFILE": str(self._passfile)}
        values["PATH"] = f"{self._programs}{os.pathsep}{os.environ['PATH']}"
        command = ["sh", "-euc", script]
        return subprocess.run(
            command, cwd=PROJECT, env=values, capture_output=True, text=True, timeout=600, check=False
        )


def free_port() -> int:
    """A port that is free on each node's address."""
    while True:
        with socket.socket() as first, socket.socket() as second, socket.socket() as third:
            first.bind((COORDINATOR, 0))
            port: int = first.getsockname()[1]
            try:
                second.bind((WORKERS[0], port))
                third.bind((WORKERS[1], port))
            except OSError:
                continue
            return port


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Three nodes, of which the coordinator has the migrated database and the roles; nothing is distributed."""
    programs = os.environ.get("CITUS_BIN") or pytest.skip(WANTED)
    with tempfile.TemporaryDirectory(prefix="citus-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        cluster = Cluster(folder, Path(programs))
        try:
            for node in NODES:
                cluster.create(node)
                cluster.start(node)
            prepare(cluster)
            yield cluster
        finally:
            with ExitStack() as stops:
                for node in cluster.processes:
                    stops.callback(cluster.stop, node)


def prepare(cluster: Cluster) -> None:
    """Prepares the coordinator as a deployment on a single PostgreSQL: specs/operations.md, roles."""
    with psycopg.connect(cluster.url("postgres", database="postgres"), autocommit=True) as superuser:
        superuser.execute(f"create role todo_owner login createrole password '{cluster.passwords['todo_owner']}'")
        superuser.execute("create database todo owner todo_owner")
    migrate(cluster.url("todo_owner"))
    cluster.run(
        f"psql -h {COORDINATOR} -U todo_owner -d todo -v ON_ERROR_STOP=1 -f sql/role.sql\n"
        f"psql -h {COORDINATOR} -U todo_owner -d todo -c \"alter role todo_service password '$TODO_SERVICE_PASSWORD'\""
    )
