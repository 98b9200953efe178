"""Loads the named statements of sql/queries. asyncpg gets the text that stands on disk, comments and all.

A statement starts with a header, `-- name: list_tasks :one` (`:one`: it returns at most one row), followed by at least
one comment line that says what it is for.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar, get_type_hints

DIRECTORY = Path(__file__).parent.parent / "sql" / "queries"
HEADER = re.compile(r"^-- name: (\w+) :one$\n(?=-- \S)", re.MULTILINE)


class Query(NamedTuple):
    name: str
    sql: str


Names = TypeVar("Names")


def parse(text: str) -> dict[str, Query]:
    """Splits the text of an .sql file; raises ValueError where it is malformed."""
    headers = list(HEADER.finditer(text))
    if not headers or len(headers) != text.count("-- name:"):
        raise ValueError("each statement needs the header '-- name: some_name :one' and a sentence in the line below")
    ends = [header.start() for header in headers[1:]] + [len(text)]
    queries: dict[str, Query] = {}
    for header, end in zip(headers, ends, strict=True):
        name, sql = header[1], text[header.start() : end].strip()
        if name in queries:
            raise ValueError(f"the name {name} is used twice")
        bare = re.sub(r"'[^']*'|--.*", "", sql).strip()
        if bare.count(";") != 1 or not bare.endswith(";") or bare == ";":
            raise ValueError(f"{name} must be one statement that ends with a semicolon")
        queries[name] = Query(name, sql)
    return queries


def load(names: Callable[..., Names]) -> Names:
    """Reads all files into the named tuple `names`, whose fields must be exactly their statements."""
    queries: dict[str, Query] = {}
    for path in sorted(DIRECTORY.glob("*.sql")):
        try:
            more = parse(path.read_text("utf-8"))
        except ValueError as error:
            raise ValueError(f"{path.name}: {error}") from None
        if twice := queries.keys() & more.keys():
            raise ValueError(f"{path.name}: the name {min(twice)} is used in another file")
        queries |= more
    if different := set(queries) ^ set(get_type_hints(names)):
        raise ValueError(f"the files and the code that loads them differ in {', '.join(sorted(different))}")
    return names(**queries)


class Sql(NamedTuple):
    """Every statement of the service."""

    create_user: Query
    create_federated_user: Query
    find_user: Query
    count_attempt: Query
    take_back_attempt: Query
    clear_attempts: Query
    list_tasks: Query
    get_task: Query
    create_task: Query
    update_task: Query
    delete_task: Query
    limit_lock_waits: Query
    lock_migrations: Query
    applied_migrations: Query
    ping: Query


SQL = load(Sql)
