"""The database's constraints refuse bad rows, and each violation that a request can cause has an HTTP answer."""

import uuid
from collections.abc import AsyncIterator, Iterator

import asyncpg
import psycopg
import pytest

from service.errors import CONSTRAINTS, constraint_error
from tests.support.databases import Template

pytestmark = pytest.mark.anyio

KNOWN, UNKNOWN = uuid.UUID(int=1), uuid.UUID(int=2)
# For each constraint, a row that violates only this one, and the HTTP answer.
USER = "insert into users (id, email, password_hash) values (gen_random_uuid(), $1, '')"
WITHOUT_PASSWORD = "insert into users (id, email) values (gen_random_uuid(), $1)"
TASK = "insert into tasks (id, user_id, title, description) values (gen_random_uuid(), $1, $2, $3)"
REFUSED: list[tuple[str, str, list[object], int, str]] = [
    ("users_email_key", USER, ["known@example.com"], 409, "Email already registered"),
    ("users_email_lower_case", USER, ["Known@example.com"], 400, "Invalid email format"),
    ("users_email_length", USER, ["x" * 256], 400, "Email must not exceed 255 characters"),
    ("users_email_length", USER, ["xx"], 400, "Email must not exceed 255 characters"),
    ("users_email_with_password", WITHOUT_PASSWORD, ["a@example.com"], 400, "Email and password required"),
    ("tasks_user_id_fkey", TASK, [UNKNOWN, "x", None], 401, "Unauthorized"),
    ("tasks_title_length", TASK, [KNOWN, "x" * 256, None], 400, "Title must not exceed 255 characters"),
    ("tasks_title_trimmed", TASK, [KNOWN, " x", None], 400, "Title is required"),
    ("tasks_title_trimmed", TASK, [KNOWN, "\u3000", None], 400, "Title is required"),
    ("tasks_description_length", TASK, [KNOWN, "x", "x" * 1001], 400, "Description must not exceed 1000 characters"),
]
LONGEST: list[tuple[str, list[object]]] = [
    (USER, ["x" * 243 + "@example.com"]),
    (USER, ["a@b"]),
    ("insert into users (id) values ($1)", [UNKNOWN]),
    (TASK, [KNOWN, "\U0001f427" * 255, "\U0001f427" * 1000]),
    (TASK, [KNOWN, "x", ""]),
]
IMPOSSIBLE = [
    ("users_pkey", "insert into users (id, email, password_hash) values ($1, 'a@example.com', '')"),
    ("", "insert into users (id, created_at) values ($1, null)"),
    ("", "insert into tasks (user_id, id) values ($1, gen_random_uuid())"),
    ("", "insert into tasks (user_id, id, title, completed) values ($1, gen_random_uuid(), 'x', null)"),
]


@pytest.fixture(scope="module")
def url(template: Template) -> Iterator[str]:
    with template.copy() as name:
        yield template.owner_url(name)


@pytest.fixture
async def connection(url: str) -> AsyncIterator[asyncpg.Connection]:
    """In a transaction that is rolled back, with one user."""
    connection = await asyncpg.connect(url)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(USER.replace("gen_random_uuid()", f"'{KNOWN}'"), "known@example.com")
    yield connection
    await transaction.rollback()
    await connection.close()


def test_every_constraint_that_a_request_can_violate_has_an_answer(owner: psycopg.Connection) -> None:
    # Without the primary keys, whose ids the service generates, and PostgreSQL 18's NOT NULL constraints.
    rows = owner.execute(
        "select conname from pg_constraint"
        " where connamespace = 'public'::regnamespace and contype in ('u', 'c', 'f', 'x') and conrelid::regclass::text"
        " not like '%yoyo%'"
    )
    assert {row[0] for row in rows} == set(CONSTRAINTS)
    assert {name for name, *_ in REFUSED} == set(CONSTRAINTS)


@pytest.mark.parametrize(("name", "sql", "values", "status", "message"), REFUSED)
async def test_a_bad_row_is_refused(
    connection: asyncpg.Connection, name: str, sql: str, values: list[object], status: int, message: str
) -> None:
    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as raised:
        await connection.execute(sql, *values)
    assert raised.value.constraint_name == name
    answer = constraint_error(raised.value)
    assert answer is not None
    assert (answer.status, answer.message) == (status, message)


@pytest.mark.parametrize("name", CONSTRAINTS)
async def test_a_constraint_is_found_by_its_name_with_a_shard_number(connection: asyncpg.Connection, name: str) -> None:
    table = name.partition("_")[0]
    await connection.execute(f"alter table {table} rename constraint {name} to {name}_102026")
    sql, values = next((sql, values) for refused, sql, values, *_ in REFUSED if refused == name)
    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as raised:
        await connection.execute(sql, *values)
    assert raised.value.constraint_name == f"{name}_102026"
    answer = constraint_error(raised.value)
    assert answer is not None
    assert (answer.status, answer.message) == CONSTRAINTS[name]


AS_CITUS_FORWARDS_IT = """
    do $$ begin {sql}; exception when integrity_constraint_violation then
        raise exception using errcode = sqlstate, message = regexp_replace(sqlerrm, '({name})', '\\1_102026');
    end $$
"""


@pytest.mark.parametrize("name", CONSTRAINTS)
async def test_a_constraint_is_found_by_the_message_when_the_error_has_no_name(
    connection: asyncpg.Connection, name: str
) -> None:
    sql, values = next((sql, values) for refused, sql, values, *_ in REFUSED if refused == name)
    literals = [await connection.fetchval("select quote_nullable($1::text)", value and str(value)) for value in values]
    for number, literal in enumerate(literals, 1):
        sql = sql.replace(f"${number}", literal)
    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as raised:
        await connection.execute(AS_CITUS_FORWARDS_IT.format(sql=sql, name=name))
    assert raised.value.constraint_name is None
    answer = constraint_error(raised.value)
    assert answer is not None
    assert (answer.status, answer.message) == CONSTRAINTS[name]


@pytest.mark.parametrize(("sql", "values"), LONGEST)
async def test_a_row_at_the_limit_is_accepted(connection: asyncpg.Connection, sql: str, values: list[object]) -> None:
    assert await connection.execute(sql, *values) == "INSERT 0 1"


@pytest.mark.parametrize(("name", "sql"), IMPOSSIBLE)
async def test_a_violation_that_no_request_can_cause_has_no_answer(
    connection: asyncpg.Connection, name: str, sql: str
) -> None:
    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as raised:
        await connection.execute(sql, KNOWN)
    assert (raised.value.constraint_name or "") == name
    assert constraint_error(raised.value) is None


async def test_two_users_may_have_tasks_with_the_same_id(connection: asyncpg.Connection) -> None:
    other = await connection.fetchval(
        "insert into users (id, email, password_hash) values (gen_random_uuid(), 'other@example.com', '') returning id"
    )
    for user in (KNOWN, other):
        await connection.execute("insert into tasks (user_id, id, title) values ($1, $2, 'x')", user, UNKNOWN)
    await connection.execute("delete from users where id = $1", other)
    assert await connection.fetchval("select array_agg(user_id) from tasks") == [KNOWN]


def test_the_database_and_python_agree_on_what_is_blank(owner: psycopg.Connection) -> None:
    row = owner.execute(
        "select pg_get_expr(conbin, conrelid) from pg_constraint where conname = 'tasks_title_trimmed'"
    ).fetchone()
    assert row is not None
    rows = owner.execute(
        "select n from generate_series(1, 1114111) n, lateral (values (chr(n) || 'x'), ('x' || chr(n))) as t (title)"
        f" where n not between 55296 and 57343 and not {row[0]}".encode()
    )
    # Over all of Unicode: the constraint refuses a character at either end if and only if str.strip removes it.
    blank = [number for number in range(1, 0x110000) if not chr(number).strip()]
    assert sorted(number for (number,) in rows) == sorted(blank * 2)
