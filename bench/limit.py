"""The upper limit: the rate of PostgreSQL alone, measured by pgbench with the service's statement for each call."""

import re
import subprocess
from pathlib import Path

from bench.calls import HUNDREDS, READERS, WRITERS, Calls, Users
from bench.load import NEW, Wrong
from service.postgres.queries import DIRECTORY, parse

DELETES_PER_SECOND = 60_000  # more rows than pgbench can delete


def someone(users: Users) -> str:
    return f"\\set user random({users.first}, {users.first + users.users - 1})\n"


OWNER = "md5('user ' || :user)::uuid"
TASK = "md5('task ' || :user || ' ' || :task)::uuid"
SOME_TASK = someone(READERS) + f"\\set task random(1, {READERS.tasks})\n"
# Each client deletes the rows whose number modulo the number of clients is its own, so that none is deleted twice.
NEXT_ROW = (
    f"\\set turn :turn + 1\n\\set row :turn * :clients + :client_id\n"
    f"\\set user {WRITERS.first} + mod(:row, {WRITERS.users})\n"
)

# For each call: the statement, the lines of the pgbench script that choose the row, and the statement's parameters.
SCRIPTS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "list of 20": ("list_tasks", someone(READERS), (OWNER,)),
    "list of 100": ("list_tasks", someone(HUNDREDS), (OWNER,)),
    "get": ("get_task", SOME_TASK, (OWNER, TASK)),
    "create": ("create_task", someone(WRITERS), (OWNER, "gen_random_uuid()", ":title", ":description")),
    "update": ("update_task", SOME_TASK, (OWNER, TASK, ":title", ":true", ":false", "null::text")),
    "delete": ("delete_task", NEXT_ROW, (OWNER, "md5('row ' || :row)::uuid")),
}


def measure(call: str, calls: Calls, connections: int, seconds: int) -> float:
    """Prepared statements per second, on the same rows as the call."""
    rows = len(calls.add_rows(DELETES_PER_SECOND * seconds)) if call == "delete" else 0
    calls.database.settle()
    done, rate = pgbench(call, calls, connections, seconds)
    if call in ("create", "delete"):
        changed = abs(rows - calls.clear())
        if changed != done:
            raise Wrong(f"pgbench, {call}: {done} transactions, but {changed} rows")
    return rate


def pgbench(call: str, calls: Calls, connections: int, seconds: int) -> tuple[int, float]:
    """The number of transactions, and their rate per second."""
    name, choice, parameters = SCRIPTS[call]
    statement = parse((DIRECTORY / "tasks.sql").read_text("utf-8"))[name].sql
    script = calls.folder / "pgbench.sql"
    script.write_text(choice + re.sub(r"\$(\d+)", lambda number: parameters[int(number[1]) - 1], statement))
    variables = {"turn": -1, "clients": connections, "true": True, "false": False, **NEW}
    options = [f"-D{name}={value}" for name, value in variables.items()]
    command: list[str | Path] = [calls.database.programs / "pgbench", "-n", "-Mprepared", f"-c{connections}", "-j2"]
    command += [f"-T{seconds}", "-f", script, *options, "-d", calls.database.url]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(
        r"processed: (\d+)\nnumber of failed transactions: 0 .*^tps = ([\d.]+)", out, re.DOTALL | re.MULTILINE
    )
    if found is None:
        raise Wrong(f"pgbench, {call}: {out}")
    return int(found[1]), float(found[2])
