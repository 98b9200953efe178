"""A PostgreSQL that can be stopped at once and started again, with the default settings (fsync = on)."""

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from embedded.postgres import Embedded
from service.postgres.migrations import migrate

# Terminates all connections to the database, apart from the one that executes this.
TERMINATE = """
    select count(pg_terminate_backend(pid)) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()
"""


class Outages:
    """`accepts_since`: the time.monotonic() at which it last began to accept connections."""

    def __init__(self, folder: Path) -> None:
        self._embedded = Embedded(folder / "data", say=lambda _: None)
        self.accepts_since = 0.0

    @property
    def data(self) -> Path:
        return self._embedded.data

    @property
    def url(self) -> str:
        """A URL that stays the same after each start, unlike that of the embedded database."""
        return f"postgresql://postgres@/postgres?host={quote(str(self.data), safe='')}&port=5432"

    def start(self) -> None:
        self._embedded.start()
        self.accepts_since = time.monotonic()

    def signal(self, number: signal.Signals) -> None:
        os.kill(self._pid(), number)

    def stop_at_once(self) -> None:
        """As `pg_ctl stop -m immediate`: without a checkpoint, so that the next start has to recover."""
        pid = self._pid()
        os.kill(pid, signal.SIGQUIT)
        while Path(f"/proc/{pid}").exists() and (self.data / "postmaster.pid").exists():
            time.sleep(0.01)
        self.stop()

    def stop(self) -> None:
        self._embedded.stop()

    def _pid(self) -> int:
        return int((self.data / "postmaster.pid").read_text().split()[0])


@contextmanager
def outages() -> Iterator[Outages]:
    """A started and migrated PostgreSQL, which is stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        server = Outages(Path(folder))
        try:
            server.start()
            migrate(server.url)
            yield server
        finally:
            server.stop()
