"""Loads the named statements of sql/queries. asyncpg gets the text of the file, with its comments.

A statement starts with a header, `-- name: list_tasks`, and at least one comment line that says what it is for. The
tests hold the files to that.
"""

import re
from pathlib import Path
from typing import NamedTuple

DIRECTORY = Path(__file__).parents[2] / "sql" / "queries"


class Query(NamedTuple):
    name: str
    sql: str


class Sql(NamedTuple):
    """Every statement of the service."""

    create_user: Query
    find_user: Query
    find_token_cutoffs: Query
    count_log_in: Query
    count_sign_up: Query
    take_back_attempt: Query
    clear_attempts: Query
    sweep_attempts: Query
    limit_waits: Query
    find_account: Query
    find_account_attempts: Query
    delete_account_attempts: Query
    set_password: Query
    delete_account: Query
    end_tokens: Query
    list_tasks: Query
    get_task: Query
    create_task: Query
    create_task_within_limit: Query
    create_task_and_user: Query
    update_task: Query
    update_task_if_match: Query
    delete_task: Query
    delete_task_if_match: Query
    limit_lock_waits: Query
    lock_migrations: Query
    applied_migrations: Query
    ping: Query


def parse(text: str) -> dict[str, Query]:
    """The statements of an .sql file by name, each with its header."""
    statements = re.split(r"^(?=-- name: )", text, flags=re.MULTILINE)[1:]
    named = ((statement.split()[2], statement.strip()) for statement in statements)
    return {name: Query(name, sql) for name, sql in named}


def load() -> Sql:
    """Raises TypeError if the statements of the files are not exactly the fields of `Sql`."""
    queries: dict[str, Query] = {}
    for path in DIRECTORY.glob("*.sql"):
        queries |= parse(path.read_text("utf-8"))
    return Sql(**queries)


SQL = load()
