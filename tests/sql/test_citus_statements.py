"""Citus's requirements for statements and migrations, checked without Citus. tests/drills/test_citus.py uses a cluster.

test_sql_ownership.py checks one more: every predicate on `tasks` contains the distribution column.
"""

import re
from pathlib import Path

import psycopg
import pytest
from pglast import ast, parse_sql

from service.postgres.schema import MIGRATIONS
from tests.support.mutability import refused
from tests.support.statements import QUERIES, USES

CITUS = MIGRATIONS.parent / "citus.sql"
INSERT = "insert into login_attempts as known (key, attempts, expires_at) values ($1, 1, now()) on conflict (key)"
# Statements that Citus 13 refused, and the expression that the checker must report.
REFUSED = {
    "returning": ("update tasks set title = '' returning to_json(title)::text", "to_json"),
    "do update": (f"{INSERT} do update set expires_at = now()", "now()"),
    "do update where": (f"{INSERT} do update set attempts = 1 where known.expires_at > now()", "now()"),
    "with a time zone": (f"{INSERT} do update set expires_at = excluded.expires_at - make_interval(secs => $2)", "-"),
    "set": ("update tasks set updated_at = updated_at + interval '1 microsecond'", "+"),
    "now() in case": ("update tasks set updated_at = case when completed then now() end", "now()"),
    "now() in coalesce": ("update tasks set updated_at = coalesce(null, now())", "now()"),
    "in a CTE": (f"with a as ({INSERT} do update set expires_at = now() returning key) select key from a", "now()"),
    "sub-select": (f"{INSERT} do update set attempts = (select count(*) from users)", "count"),
}
ACCEPTED = [
    "update tasks set updated_at = now(), title = coalesce($1::text, title) returning id, title",
    f"{INSERT} do nothing returning key",
    f"{INSERT} do update set"
    " expires_at = (known.expires_at at time zone 'UTC' - make_interval(secs => $2)) at time zone 'UTC'",
]


@pytest.mark.parametrize("name", QUERIES)
def test_statements_write_and_return_only_immutable_expressions(owner: psycopg.Connection, name: str) -> None:
    assert refused(owner, QUERIES[name].sql, USES[name].types) == []


@pytest.mark.parametrize("name", REFUSED)
def test_the_checker_reports_mutable_expressions(owner: psycopg.Connection, name: str) -> None:
    sql, part = REFUSED[name]
    (expression,) = refused(owner, sql, ["bytea", "float8"])
    assert part in expression


@pytest.mark.parametrize("sql", ACCEPTED)
def test_the_checker_accepts_immutable_expressions(owner: psycopg.Connection, sql: str) -> None:
    assert refused(owner, sql, ["bytea", "float8"]) == []


def test_citus_sql_names_every_table(owner: psycopg.Connection) -> None:
    """A table that is only on the coordinator does not exist for the service on a worker node."""
    tables = owner.execute("select tablename from pg_tables where schemaname = 'public' and tablename !~ '^_?yoyo'")
    placed = re.findall(r"'(\w+)'::regclass", CITUS.read_text("utf-8"))
    assert {name for (name,) in tables} | {"_yoyo_migration"} == set(placed)


@pytest.mark.parametrize("path", sorted(MIGRATIONS.glob("*.sql")), ids=lambda path: path.stem)
def test_a_migration_changes_tasks_last(path: Path) -> None:
    assert not after_tasks(path.read_text("utf-8"))


def test_a_migration_that_changes_tasks_too_early_is_reported() -> None:
    change, function = "alter table tasks add column a text;", "drop function task_json;"
    assert after_tasks(change + function) == ["DropStmt"]
    assert after_tasks(change + "alter table users add column a text;") == ["AlterTableStmt"]
    assert not after_tasks(function + change + "create index on tasks (user_id, a);")
    assert not after_tasks("set local citus.multi_shard_modify_mode = 'sequential';" + change + function)


def after_tasks(sql: str) -> list[str]:
    """The statements that Citus refuses because an earlier one of the same transaction has changed `tasks`."""
    if re.search(r"^set local citus.multi_shard_modify_mode = 'sequential';", sql, re.MULTILINE):
        return []
    late: list[str] = []
    changed = False
    for each in parse_sql(sql):
        relation = getattr(each.stmt, "relation", None)
        on_tasks = relation is not None and relation.relname == "tasks"
        if changed and not on_tasks and not isinstance(each.stmt, ast.CreateStmt):
            late.append(type(each.stmt).__name__)
        changed |= on_tasks and not isinstance(each.stmt, ast.CreateStmt)
    return late
