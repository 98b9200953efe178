"""The six measured calls, each with the rows that it needs and a check of its answers against the database."""

import time
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from bench.database import Database, user_id
from bench.load import Measured, Wrong, drive, probe, write_targets


@dataclass(frozen=True)
class Users:
    """Accounts numbered from `first` on, each with this many tasks."""

    first: int
    users: int
    tasks: int

    @property
    def ids(self) -> list[UUID]:
        return [user_id(number) for number in range(self.first, self.first + self.users)]


READERS = Users(first=1, users=2_000, tasks=20)
HUNDREDS = Users(first=5_001, users=20, tasks=100)
WRITERS = Users(first=10_001, users=2_000, tasks=0)

CALLS = ("list of 20", "list of 100", "get", "create", "update", "delete")
DELETES_PER_SECOND = 20_000  # rows to delete, more than any server here can


class Calls:
    """The six calls on one filled database."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.folder = folder
        for users in (READERS, HUNDREDS, WRITERS):
            database.run("fill.sql", **vars(users))
        self.readers = self._lists("readers", READERS)
        self.hundreds = self._lists("hundreds", HUNDREDS)
        self.writers = self._lists("writers", WRITERS)
        rows = database.run("sample.sql", first=READERS.first, users=READERS.users, count=20_000)
        self.tasks = write_targets(folder / "tasks", ((user, f"/api/tasks/{task}") for user, task in rows))

    def _lists(self, name: str, users: Users) -> Path:
        return write_targets(self.folder / name, ((user, "/api/tasks") for user in users.ids))

    def measure(self, call: str, port: int, connections: int, seconds: int) -> Measured:
        """Measures one call; raises Wrong if an answer was not a success, or the database contradicts the answers."""
        self.database.settle()
        match call:
            case "list of 20":
                measured = drive(port, "GET", self.readers, connections, seconds)
            case "list of 100":
                measured = drive(port, "GET", self.hundreds, connections, seconds)
            case "get":
                measured = drive(port, "GET", self.tasks, connections, seconds)
            case "update":
                measured = drive(port, "PUT", self.tasks, connections, seconds)
            case "create":
                measured = drive(port, "POST", self.writers, connections, seconds)
                self._compare(call, measured.requests, self.clear(), connections)
            case "delete":
                measured = self._delete(port, connections, seconds)
        if measured.refused or measured.broken or not measured.requests:
            raise Wrong(f"{call}: {measured}")
        return measured

    def _delete(self, port: int, connections: int, seconds: int) -> Measured:
        rows = self.add_rows(DELETES_PER_SECOND * seconds)
        targets = write_targets(self.folder / "rows", ((user, f"/api/tasks/{task}") for user, task in rows))
        self.database.settle()
        measured = drive(port, "DELETE", targets, connections, seconds)
        self._compare("delete", measured.requests, len(rows) - self.clear(), connections)
        return measured

    def add_rows(self, count: int) -> list[tuple[UUID, UUID]]:
        """Inserts rows for the deletes; returns their owners and ids."""
        return self.database.run("add_rows.sql", first=WRITERS.first, users=WRITERS.users, count=count)

    def clear(self) -> int:
        time.sleep(0.5)  # lets the requests finish that were in progress when wrk stopped
        return int(self.database.run("clear.sql", first=WRITERS.first, users=WRITERS.users)[0][0])

    def _compare(self, call: str, answered: int, rows: int, connections: int) -> None:
        """wrk drops the requests in progress at its end, so up to one more row per connection is correct."""
        if not answered <= rows <= answered + connections:
            raise Wrong(f"{call}: {answered} answers of success, but {rows} rows")

    def probe(self, port: int) -> None:
        probe(port, READERS.ids[0], READERS.tasks, WRITERS.ids[0])
