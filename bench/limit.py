"""The limit: what PostgreSQL alone answers to pgbench, for the service's own list statement."""

import re
import subprocess
from pathlib import Path

from bench.calls import READERS
from bench.database import Database
from service.queries import DIRECTORY, parse


def pgbench(database: Database, folder: Path, connections: int, seconds: int) -> float:
    """Statements per second with prepared statements, over as many users and connections as the list has."""
    statement = parse((DIRECTORY / "tasks.sql").read_text("utf-8"))["list_tasks"].sql
    script = folder / "pgbench.sql"
    owner = "md5('user ' || :number)::uuid"
    script.write_text(f"\\set number random(1, {READERS.users})\n" + statement.replace("$1", owner))
    options: list[str | Path] = ["-n", "-M", "prepared", f"-c{connections}", "-j2", f"-T{seconds}", "-f", script]
    pgbench_ = database.programs / "pgbench"
    out = subprocess.run([pgbench_, *options, "-d", database.url], check=True, capture_output=True, text=True).stdout
    found = re.search(r"^tps = ([\d.]+)", out, re.MULTILINE)
    if found is None or "number of failed transactions: 0 " not in out:
        raise RuntimeError(out)
    return float(found[1])
