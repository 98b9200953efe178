"""Loads the named statements of sql/queries. asyncpg gets the text of the file, with its comments.

A statement starts with a header, `-- name: list_tasks`, and at least one comment line that says what it is for. The
tests hold the files to that.
"""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

DIRECTORY = Path(__file__).parents[2] / "sql" / "queries"


class Query(NamedTuple):
    name: str
    sql: str


def parse(text: str) -> dict[str, Query]:
    """The statements of an .sql file by name, each with its header."""
    statements = re.split(r"^(?=-- name: )", text, flags=re.MULTILINE)[1:]
    named = ((statement.split()[2], statement.strip()) for statement in statements)
    return {name: Query(name, sql) for name, sql in named}


def load() -> SimpleNamespace:
    """Every statement of the service, as an attribute by its name."""
    statements: dict[str, Query] = {}
    for path in DIRECTORY.glob("*.sql"):
        statements |= parse(path.read_text("utf-8"))
    return SimpleNamespace(**statements)


SQL = load()
