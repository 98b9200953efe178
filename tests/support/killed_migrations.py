"""`make migrate`, killed and run again."""

import time
from pathlib import Path

from service.postgres.migrations import migrate
from tests.support.commands import finish, run, start
from tests.support.databases import at, database
from tools.dump_schema import SCHEMA, dump


def kill_and_repeat(server: str, folder: Path, moments: list[float]) -> None:
    """Kills a run at each moment, a fraction of a complete run's duration; then a last run must finish the work."""
    with database(server) as name:
        began = time.monotonic()
        assert run(folder, "service", "migrate", DATABASE_URL=at(server, name))[0] == 0
        whole = time.monotonic() - began
    for moment in moments:
        with database(server) as name:
            killed = start(folder, "service", "migrate", DATABASE_URL=at(server, name))
            time.sleep(whole * moment)
            killed.kill()
            finish(killed)
            migrate(at(server, name))
            assert dump(at(server, name)) == SCHEMA.read_text("utf-8")
