"""A database on a Citus cluster. It cannot be copied, so each test gets it with empty tables."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from service.postgres.migrations import migrate
from tests.support.commands import PROJECT
from tests.support.databases import Template

# Citus appends the number of a shard to the names of its constraints.
SCHEMA = r"""
    select array(
        select (table_name, column_name)::text from information_schema.columns where table_schema = 'public' order by 1
    ) || array(
        select conname::text from pg_constraint where connamespace = 'public'::regnamespace and conname !~ '_\d+$'
        order by 1
    ) || array(select (table_name, citus_table_type)::text from citus_tables order by 1)
"""


class Distributed(Template):
    @contextmanager
    def copy(self) -> Iterator[str]:
        with psycopg.connect(self.server, autocommit=True) as owner:
            if owner.execute(SCHEMA).fetchone() != original_schema(self.server):
                self._migrate_anew(owner)
            owner.execute("delete from login_attempts")
            owner.execute("delete from users")
        yield self.name

    def _migrate_anew(self, owner: psycopg.Connection) -> None:
        """Creates the schema again, after a test that changed it."""
        owner.execute("drop owned by todo_owner cascade")
        migrate(self.server)
        for file in ("role.sql", "citus.sql"):
            psql = [str(Path(os.environ["CITUS_BIN"]) / "psql"), self.server, "-q", "-f", f"sql/{file}"]
            subprocess.run(psql, cwd=PROJECT, stdout=subprocess.DEVNULL, check=True, timeout=60)


@cache
def original_schema(server: str) -> Any:
    with psycopg.connect(server) as owner:
        return owner.execute(SCHEMA).fetchone()


def distributed() -> Distributed:
    """The database of TEST_DATABASE_URL, as its owner, and of TEST_SERVICE_URL, as the service's role."""
    service = urlsplit(os.environ["TEST_SERVICE_URL"])
    return Distributed(os.environ["TEST_DATABASE_URL"], "todo", service.username or "", service.password or "")
