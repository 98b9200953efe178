"""PgBouncer in transaction mode, in front of any PostgreSQL."""

import os
import pwd
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import psycopg

from service.postgres import connection_string
from tests.support.programs import program
from tests.support.tls import free_port


def pooler(server: str, role: str, password: str) -> AbstractContextManager[str]:
    """PgBouncer's address if TEST_THROUGH=pgbouncer is set, else an empty string."""
    if os.environ.get("TEST_THROUGH") == "pgbouncer":
        return pgbouncer(server, role, password)
    return nullcontext("")


@contextmanager
def pgbouncer(server: str, role: str, password: str) -> Iterator[str]:
    """The address at which this role reaches every database of the server.

    With two server connections for each database, fewer than the service's pool has, its statements share connections.
    Like other transaction poolers, it refuses prepared statements and settings of clients.
    """
    target = connection_string.parse(server).connect
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as name:
        folder = Path(name)
        (folder / "users.txt").write_text(f'"{role}" "{password}"\n')
        (folder / "pgbouncer.ini").write_text(
            f"""
            [databases]
            * = host={target["host"]} port={target["port"]}
            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = {port}
            unix_socket_dir =
            auth_type = scram-sha-256
            auth_file = {folder}/users.txt
            pool_mode = transaction
            default_pool_size = 2
            max_client_conn = 500
            server_login_retry = 1
            """.replace("    ", "")
        )
        with (folder / "log").open("wb") as log:
            command = [*_not_root(), program("pgbouncer"), str(folder / "pgbouncer.ini")]
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _wait(f"postgresql://{role}:{password}@127.0.0.1:{port}/postgres", folder / "log", process)
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


def _not_root() -> list[str]:
    """PgBouncer refuses to run as root. As nobody, it still needs to enter root's folders for the server's socket."""
    if os.geteuid() != 0:
        return []
    nobody = pwd.getpwnam("nobody")
    return [
        program("setpriv"), f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups",
        "--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override", "--securebits=+no_setuid_fixup", "--",
    ]  # fmt: skip


def _wait(url: str, log: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            psycopg.connect(url, sslmode="disable").close()
            return
        except psycopg.OperationalError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PgBouncer did not start: {error}\n{log.read_text()}") from error
        time.sleep(0.05)
