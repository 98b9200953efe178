"""The statements on the migrated schema: parameters, columns, plans, and no state left in the session."""

import ast
import json
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest
from pglast import parse_sql
from pglast.visitors import referenced_relations

import service
from tests.support.sql_tree import FUNCTIONS
from tests.support.statements import QUERIES, USES

MODULES = sorted(Path(service.__file__).parent.rglob("*.py"))
LEFT_BEHIND = {
    "settings": "select count(*) from pg_settings where source = 'session'",
    "channels": "select count(*) from pg_listening_channels()",
    "locks": "select count(*) from pg_locks where pid = pg_backend_pid() and locktype = 'advisory'",
    "temporary tables": "select count(*) from pg_class where relpersistence = 't'",
    "cursors": "select count(*) from pg_cursors where is_holdable",
}


def calls(tree: ast.AST) -> dict[str, list[ast.expr]]:
    """The arguments after `SQL.name` of each `….fetch_one(SQL.name, …)` and `_fetch_one(request, SQL.name, …)`."""
    return {
        ast.unparse(argument).removeprefix("SQL."): node.args[number + 1 :]
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("fetch_one")
        for number, argument in enumerate(node.args)
        if ast.unparse(argument).startswith("SQL.")
    }


def columns_read(tree: ast.AST) -> set[str]:
    """The names in row["…"]."""
    return {
        node.slice.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id == "row"
        and isinstance(node.slice, ast.Constant)
        and isinstance(node.slice.value, str)
    }


@pytest.mark.anyio
async def test_each_statement_has_the_parameters_and_columns_of_uses(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        for name, use in USES.items():
            prepared = await connection.prepare(QUERIES[name].sql)
            types = [parameter.name for parameter in prepared.get_parameters()]
            columns = {column.name: column.type.name for column in prepared.get_attributes()}
            assert (name, types, columns) == (name, use.types, use.columns)
            assert len(await prepared.fetch(*use.values)) <= 1
    finally:
        await connection.close()


def test_the_code_sends_each_statement_with_its_parameters_and_reads_only_its_columns() -> None:
    sent: set[str] = set()
    for module in MODULES:
        tree = ast.parse(module.read_text("utf-8"))
        here = calls(tree)
        sent |= set(here)
        for name, passed in here.items():
            # The tests of that module cover the arguments behind a star.
            starred = any(isinstance(argument, ast.Starred) for argument in passed)
            assert starred or len(passed) == len(USES[name].types), name
        returned = {column for name in here for column in USES[name].columns}
        assert columns_read(tree) <= returned, module.name
    assert sent == set(USES) == set(QUERIES)


@pytest.fixture
def seeded(owner: psycopg.Connection) -> psycopg.Connection:
    """200 users with 20 tasks each. With the tasks of a user far apart, a sort in memory would be the better plan."""
    owner.execute(
        "insert into users (id, email, password_hash) select gen_random_uuid(), n || '@example.com', ''"
        " from generate_series(1, 200) n"
    )
    owner.execute(
        "insert into tasks (user_id, id, title, created_at)"
        " select users.id, gen_random_uuid(), 'Title', now() - n * interval '1 second'"
        " from users, generate_series(1, 20) n order by users.id"
    )
    owner.execute("vacuum analyze")
    return owner


def plan(connection: psycopg.Connection, name: str) -> str:
    """The generic plan of the prepared statement, which the pool's connections use after a few executions."""
    types = ", ".join(USES[name].types)
    connection.execute("set plan_cache_mode = force_generic_plan")
    connection.execute(f"prepare planned ({types}) as {QUERIES[name].sql}".encode())
    nulls = ", ".join(["null"] * len(USES[name].types))
    row = connection.execute(f"explain (verbose, format json) execute planned ({nulls})".encode()).fetchone()
    assert row is not None
    return json.dumps(row[0])


def test_the_task_list_is_read_from_its_index_without_sorting(seeded: psycopg.Connection) -> None:
    planned = plan(seeded, "list_tasks")
    assert '"Index Name": "tasks_newest_first"' in planned
    assert '"Sort"' not in planned


@pytest.mark.parametrize("name", ["get_task", "update_task", "delete_task"])
def test_one_task_is_read_by_the_primary_key(seeded: psycopg.Connection, name: str) -> None:
    assert '"Index Name": "tasks_pkey"' in plan(seeded, name)


@pytest.mark.parametrize("name", ["list_tasks", "get_task", "create_task", "update_task"])
def test_task_json_is_inlined(seeded: psycopg.Connection, name: str) -> None:
    planned = plan(seeded, name)
    assert "to_char" in planned
    assert "task_json" not in planned


def test_no_statement_leaves_state_in_its_session(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:

        def state() -> dict[str, Any]:
            return {name: connection.execute(sql.encode()).fetchone() for name, sql in LEFT_BEHIND.items()}

        before = state()
        for name, use in USES.items():
            psycopg.RawCursor(connection).execute(QUERIES[name].sql.encode(), use.values)
        assert state() == before
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_no_trigger_function_or_view_reads_tables_on_its_own(owner: psycopg.Connection) -> None:
    def names(sql: str) -> list[Any]:
        return [row[0] for row in owner.execute(sql.encode()).fetchall()]

    ours = "n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')"
    assert names("select tgname from pg_trigger where not tgisinternal") == []
    assert (
        names("select relname from pg_class where relkind in ('v', 'm') and relnamespace = 'public'::regnamespace")
        == []
    )
    assert names(f"select oprname from pg_operator o join pg_namespace n on n.oid = o.oprnamespace where {ours}") == []
    for name, body in owner.execute(
        f"select proname, prosrc from pg_proc p join pg_namespace n on n.oid = p.pronamespace where {ours}".encode()
    ):
        assert name in FUNCTIONS
        assert referenced_relations(body) == set()
        assert len(parse_sql(body)) == 1
