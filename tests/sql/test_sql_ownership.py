"""The ownership checker accepts each statement, and reports the same statements when they are broken."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pglast import parse_sql

from service.postgres.queries import DIRECTORY, parse
from tests.support.ownership import faults
from tests.support.sql_tree import FUNCTIONS

TABLES: dict[str, set[str]] = {
    "tasks.sql": {"tasks", "users"},
    "users.sql": {"users", "token_cutoffs"},
    "logins.sql": {"login_attempts"},
    "account_command.sql": {"users", "token_cutoffs", "login_attempts"},
    "schema_check.sql": {"_yoyo_migration"},
    "health.sql": set(),
    "migrations.sql": set(),
}
# Further functions that the owner's commands may call, because their connections are closed afterwards.
OWNERS_FUNCTIONS = {
    "migrations.sql": {"set_config", "pg_advisory_lock"},
    "account_command.sql": {"set_config", "pg_catalog.substring", "date_trunc", "clock_timestamp"},
}
STATEMENTS = {name: query.sql for name, query in parse((DIRECTORY / "tasks.sql").read_text("utf-8")).items()}
WITH_PREDICATE = sorted(name for name, sql in STATEMENTS.items() if "where user_id = $1" in sql)

# Replacements for `user_id = $1`.
PREDICATES = {
    "constant": "true",
    "under or": "(user_id = $1 or completed)",
    "under not": "not (user_id = $1)",
    "under case": "case when completed then user_id = $1 else true end",
    "under coalesce": "coalesce(user_id = $1, true)",
    "in a test": "(user_id = $1) is not false",
    "distinct": "user_id is distinct from $1",
    "itself": "user_id = user_id",
    "parameter with itself": "$1 = $1",
    "unequal": "user_id <> $1",
    "greater": "user_id >= $1",
    "an operator of another schema": "user_id operator(public.=) $1",
    "one of several": "user_id = any(array[$1, $2])",
    "in several": "user_id in ($1, $2)",
    "a choice": "user_id = coalesce($1, user_id)",
    "other parameter": "user_id = $2",
    "other column": "id = $1",
    "another table's column": "others.user_id = $1",
    "in a sub-select only": "id in (select id from tasks where user_id = $1)",
    "in another row's existence only": "exists (select 1 from tasks where user_id = $1)",
    "outside of a sub-select only": "user_id = $1 and id in (select id from tasks)",
    "the outer table's in a sub-select": "user_id = $1 and exists (select 1 from tasks t where tasks.user_id = $1)",
}
# A pattern before a predicate, and its replacement with a second table.
SELECT_JOIN = (r"from tasks\s+", "from tasks join tasks as other on other.id = tasks.id where")
JOINS = {
    "update_task": ("", "from tasks as other where"),
    "delete_task": ("", "using tasks as other where"),
}
CREATES = [name for name in STATEMENTS if name.startswith("create_task")]
COLUMNS, VALUES = re.findall(r"\(user_id, id, .*\)|values \(.*\)", STATEMENTS["create_task"])
# Pattern and replacement, for creates with VALUES, for creates with SELECT, and for all creates.
INSERTS_OF_VALUES = {
    "swapped": ("values ($1, $2", "values ($2, $1"),
    "constant owner": ("values ($1,", "values (gen_random_uuid(),"),
    "no owner": (f"{COLUMNS}\n    {VALUES}", "default values"),
    "second row": (VALUES, f"{VALUES}, {VALUES.removeprefix('values ').replace('$1', '$2')}"),
    "everybody's": (VALUES, f"select {COLUMNS[1:-1].replace('user_id', '$1')} from tasks"),
    "others'": (VALUES, f"select {COLUMNS[1:-1]} from tasks where user_id = $1"),
}
INSERTS_OF_A_SELECT = {
    "swapped": ("select $1, $2", "select $2, $1"),
    "constant owner": ("select $1,", "select gen_random_uuid(),"),
    "the owner of another row": ("select $1,", "select user_id,"),
    "one more table": ("    where held", "    cross join tasks where held"),
    "everybody's": ("exists (select id from tasks where user_id = $1 and", "exists (select id from tasks where"),
}
INSERTS = {
    "swapped columns": ("(user_id, id, title", "(id, user_id, title"),
    "conflict with anybody": ("on conflict (user_id, id)", "on conflict (id)"),
    "conflict by name": ("on conflict (user_id, id)", "on conflict on constraint tasks_pkey"),
    "new owner": ("set title = tasks.title", "set user_id = excluded.user_id"),
    "new id": ("set title = tasks.title", "set id = $2"),
    "owner as a title": ("set title = tasks.title", "set title = $1"),
    "everybody's title": ("set title = tasks.title", "set title = (select max(title) from tasks)"),
    "another source": ("from written", "from tasks"),
    "one more source": ("from written", "from written, tasks"),
}
BROKEN_INSERTS = [
    pytest.param(name, *change, id=f"{name}, {what}")
    for name in CREATES
    for form in (INSERTS, INSERTS_OF_VALUES if name == "create_task" else INSERTS_OF_A_SELECT)
    for what, change in form.items()
]


def check(sql: str) -> list[str]:
    return faults(sql, TABLES["tasks.sql"])


def replaced(name: str, old: str, new: str) -> str:
    assert old in STATEMENTS[name]
    broken = STATEMENTS[name].replace(old, new)
    parse_sql(broken)
    return broken


@pytest.mark.parametrize("path", sorted(DIRECTORY.glob("*")), ids=lambda path: path.name)
def test_a_statement_uses_only_the_tables_of_its_file_and_the_owners_tasks(path: Path) -> None:
    functions = FUNCTIONS | OWNERS_FUNCTIONS.get(path.name, set())
    for query in parse(path.read_text("utf-8")).values():
        assert faults(query.sql, TABLES[path.name], functions) == []


def test_every_statement_on_tasks_has_broken_variants() -> None:
    assert {*WITH_PREDICATE, *CREATES} == set(STATEMENTS)


def each_replaced(name: str, pattern: str, new: str) -> Iterator[str]:
    """The statement once for each match of the pattern, with that match replaced."""
    sql = STATEMENTS[name]
    places = list(re.finditer(pattern, sql))
    assert places
    for place in places:
        broken = sql[: place.start()] + place.expand(new) + sql[place.end() :]
        parse_sql(broken)
        yield broken


@pytest.mark.parametrize("predicate", PREDICATES.values(), ids=list(PREDICATES))
@pytest.mark.parametrize("name", WITH_PREDICATE)
def test_a_wrong_predicate_is_reported(name: str, predicate: str) -> None:
    for broken in each_replaced(name, r"(tasks\.)?user_id = \$1", predicate):
        assert any("is not limited to the owner" in fault for fault in check(broken))


@pytest.mark.parametrize("name", WITH_PREDICATE)
def test_a_missing_predicate_is_reported(name: str) -> None:
    for broken in each_replaced(name, r"(where )(?:tasks\.)?user_id = \$1 and |where user_id = \$1(?! and)", r"\1"):
        assert "tasks is not limited to the owner" in check(broken)


@pytest.mark.parametrize("name", WITH_PREDICATE)
def test_a_predicate_on_only_one_side_of_a_join_is_reported(name: str) -> None:
    start, join = JOINS.get(name, SELECT_JOIN)
    for owned, free in (("tasks", "other"), ("other", "tasks")):
        for broken in each_replaced(name, f"{start}where user_id = \\$1", f"{join} {owned}.user_id = $1"):
            assert check(broken) == [f"{free} is not limited to the owner"]
    for both in each_replaced(
        name, f"{start}where user_id = \\$1", f"{join} tasks.user_id = $1 and other.user_id = $1"
    ):
        assert check(both) == []


@pytest.mark.parametrize("name", STATEMENTS)
def test_the_owner_is_the_first_parameter(name: str) -> None:
    swapped = {"$1": "$2", "$2": "$1"}
    broken = re.sub(r"\$[12]\b", lambda match: swapped[match[0]], STATEMENTS[name])
    assert check(broken)


@pytest.mark.parametrize("name", STATEMENTS)
@pytest.mark.parametrize(
    "cte", ["gone as (delete from tasks)", "gone as (select id from tasks)", "tasks as (select 1)"]
)
def test_a_predicate_that_is_missing_in_a_cte_is_reported(name: str, cte: str) -> None:
    sql = re.sub(r"^--.*\n", "", STATEMENTS[name], flags=re.MULTILINE)
    broken = sql.replace("with ", f"with {cte}, ", 1) if sql.startswith("with ") else f"with {cte} {sql}"
    parse_sql(broken)
    assert check(broken)


@pytest.mark.parametrize(("name", "old", "new"), BROKEN_INSERTS)
def test_a_broken_insert_is_reported(name: str, old: str, new: str) -> None:
    assert check(replaced(name, old, new))


@pytest.mark.parametrize(
    "other",
    ["select $2", "select gen_random_uuid()", "select id from users", "select $1 from users", "select $1 from tasks"],
)
def test_access_to_another_users_row_is_reported(other: str) -> None:
    assert check(replaced("create_task_checked", "select $1\n", f"{other}\n"))


@pytest.mark.parametrize("read", ["from written, users", "from written join users on users.id = user_id"])
def test_users_are_limited_to_the_owner_too(read: str) -> None:
    broken = replaced("create_task_checked", "from written", read)
    assert "users is not limited to the owner" in check(broken)


@pytest.mark.parametrize("change", ["user_id = $3", "id = $3", "title = $1::text", "(title, user_id) = ($3, $1)"])
def test_an_update_keeps_owner_and_id_and_uses_the_owner_for_nothing_else(change: str) -> None:
    assert check(replaced("update_task", "title = coalesce($3, title)", change))
