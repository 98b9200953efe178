"""Every statement that the service sends, with its parameters and result columns."""

import uuid
from datetime import UTC, datetime
from typing import Any, NamedTuple

from service.postgres.queries import DIRECTORY, Query, parse

USER, OTHER, TASK = uuid.UUID(int=1), uuid.UUID(int=2), uuid.UUID(int=3)


class Use(NamedTuple):
    types: list[str]
    values: list[Any]
    columns: dict[str, str]


# In this order, each statement finds the rows of the previous ones.
USES = {
    "create_user": Use(["uuid", "text", "text"], [USER, "a@example.com", "hash"], {"id": "uuid"}),
    "find_user": Use(
        ["text"],
        ["a@example.com"],
        {"id": "uuid", "email": "text", "password_hash": "text", "tokens_valid_from": "float8"},
    ),
    "find_new_token_cutoffs": Use(["float8"], [60.0], {"user_ids": "text[]", "valid_from": "float8[]"}),
    "find_token_cutoffs": Use(["uuid[]"], [[USER, OTHER]], {"user_ids": "text[]", "valid_from": "float8[]"}),
    "count_log_in": Use(
        ["bytea", "bytea", "bytea", "int4", "int4", "float8"],
        [b"pair", b"address", b"remembered", 10, 200, 900.0],
        {"wait_seconds": "int4", "counts_for_address": "bool"},
    ),
    "count_sign_up": Use(["bytea", "int4", "float8"], [b"sign-up", 200, 900.0], {"wait_seconds": "int4"}),
    "take_back_attempt": Use(["bytea", "bytea"], [b"pair", b"address"], {"attempts": "int8"}),
    "clear_attempts": Use(
        ["bytea", "bytea", "bytea", "float8"], [b"pair", b"address", b"remembered", 86400.0], {"attempts": "int8"}
    ),
    "sweep_attempts": Use([], [], {}),
    "create_task": Use(["uuid", "uuid", "text", "text"], [USER, TASK, "Title", None], {"body": "text"}),
    "create_task_checked": Use(
        ["uuid", "uuid", "text", "text", "bytea", "int8", "bool"],
        [OTHER, uuid.UUID(int=4), "Title", None, b"print", 9, True],
        {"body": "text", "held": "int8"},
    ),
    "list_tasks": Use(["uuid"], [USER], {"body": "text"}),
    "get_task": Use(["uuid", "uuid"], [USER, TASK], {"body": "text"}),
    "update_task": Use(
        ["uuid", "uuid", "text", "bool", "bool", "text"], [USER, TASK, "Other", True, True, "Words"], {"body": "text"}
    ),
    "update_task_if_match": Use(
        ["uuid", "uuid", "text", "bool", "bool", "text", "timestamptz[]", "uuid"],
        [USER, TASK, "Other", True, True, "Words", [datetime.now(UTC)], uuid.UUID(int=5)],
        {"body": "text", "matched": "bool"},
    ),
    "delete_task_if_match": Use(
        ["uuid", "uuid", "timestamptz[]"], [USER, TASK, [datetime.now(UTC)]], {"body": "text", "matched": "bool"}
    ),
    "delete_task": Use(["uuid", "uuid"], [USER, TASK], {"id": "uuid"}),
    "applied_migrations": Use([], [], {"names": "varchar[]"}),
    "ping": Use([], [], {"answers": "bool"}),
}
FILES = ("users.sql", "logins.sql", "tasks.sql", "schema_check.sql", "health.sql")
QUERIES: dict[str, Query] = {
    name: query for file in FILES for name, query in parse((DIRECTORY / file).read_text("utf-8")).items()
}
