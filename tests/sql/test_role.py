"""The rights of the service's role: every statement needs them, and nothing else is permitted."""

import secrets
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from tests.support.databases import Template
from tests.support.service_role import ROLE, grant
from tests.support.statements import QUERIES, USES

# All rights that sql/role.sql grants.
RIGHTS = [
    "usage on schema public",
    *(f"{right} on users" for right in ("select", "insert")),
    *(
        f"{right} on {table}"
        for table in ("tasks", "login_attempts")
        for right in ("select", "insert", "update", "delete")
    ),
    "select on token_cutoffs",
    "select on _yoyo_migration",
]
FORBIDDEN = [
    "drop table tasks",
    "truncate tasks",
    "truncate login_attempts",
    "alter table tasks add column more text",
    "create table more (id uuid)",
    "create index on tasks (title)",
    "create schema more",
    "create function more() returns integer language sql as 'select 1'",
    "create or replace function task_json(uuid, text, text, boolean, uuid, timestamptz, timestamptz)"
    " returns text language sql as 'select 1'",
    "create trigger more after insert on tasks execute function suppress_redundant_updates_trigger()",
    "create role more",
    "create database more",
    "update users set email = 'other@example.com'",
    "update users set password_hash = ''",
    "update users set email = 'eve@example.com'",
    "update users set id = gen_random_uuid()",
    "delete from users",
    "lock table users in share mode",
    "lock table users in access exclusive mode",
    "insert into token_cutoffs values (gen_random_uuid(), now())",
    "update token_cutoffs set valid_from = now()",
    "delete from token_cutoffs",
    "insert into _yoyo_migration default values",
    "delete from _yoyo_migration",
    "select * from _yoyo_log",
    "select rolpassword from pg_authid",
    "copy tasks to program 'true'",
    "select pg_read_file('PG_VERSION')",
    "alter system set work_mem = '1MB'",
]
# specs/security.md explains these under "What the service's role can still do".
CANNOT_BE_TAKEN_AWAY = [
    "alter role {} password 'another'",
    "alter role {} set statement_timeout = 0",
    "lock table tasks in access exclusive mode",
    "select pg_advisory_xact_lock(7301946552)",
    "create temporary table more (id uuid)",
]


@pytest.fixture(scope="module")
def role(template: Template) -> Iterator[tuple[psycopg.Connection, str]]:
    """The owner's connection, and the name of the role. sql/role.sql runs twice, because operators may repeat it."""
    name = f"test_{secrets.token_hex(6)}"
    with (
        template.copy() as database,
        psycopg.connect(template.owner_url(database), autocommit=True) as owner,
    ):
        grant(owner, name)
        grant(owner, name)
        yield owner, name
        owner.execute("reset role")
        for sql in ("drop owned by {}", "drop role {}"):
            owner.execute(SQL(sql).format(Identifier(name)))


@pytest.fixture
def service(role: tuple[psycopg.Connection, str]) -> Iterator[psycopg.Connection]:
    """A connection with the service's role, in a transaction that is rolled back."""
    connection, name = role
    with connection.transaction(force_rollback=True):
        connection.execute(SQL("set local role {}").format(Identifier(name)))
        yield connection


def run_everything(connection: psycopg.Connection) -> None:
    for name, use in USES.items():
        psycopg.RawCursor(connection).execute(QUERIES[name].sql.encode(), use.values)


def test_every_statement_runs_with_the_services_role(service: psycopg.Connection) -> None:
    run_everything(service)


@pytest.mark.parametrize("right", RIGHTS)
def test_without_any_one_right_a_statement_fails(
    service: psycopg.Connection, role: tuple[psycopg.Connection, str], right: str
) -> None:
    service.execute("reset role")
    # By default, PUBLIC may use the schema.
    for grantee in (role[1], "public"):
        service.execute(f'revoke {right} from "{grantee}"'.encode())
    service.execute(SQL("set local role {}").format(Identifier(role[1])))
    # Without USAGE on the schema, PostgreSQL does not find its tables.
    with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable)):
        run_everything(service)


def test_role_sql_grants_exactly_these_rights() -> None:
    granted = {
        line.removeprefix("grant ").removesuffix(" to todo_service;")
        for line in ROLE.read_text("utf-8").splitlines()
        if line.startswith("grant ")
    }
    together = {"usage on schema public", "select, insert on users", "select on _yoyo_migration"}
    together |= {"select on token_cutoffs"}
    together |= {f"select, insert, update, delete on {table}" for table in ("tasks", "login_attempts")}
    assert granted == together


@pytest.mark.parametrize("sql", FORBIDDEN)
def test_the_role_may_do_nothing_else(role: tuple[psycopg.Connection, str], sql: str) -> None:
    connection, name = role
    connection.execute(SQL("set role {}").format(Identifier(name)))
    try:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(f"{'begin; ' * sql.startswith('lock')}{sql}".encode())
    finally:
        connection.rollback()
        connection.execute("reset role")


@pytest.mark.parametrize("sql", CANNOT_BE_TAKEN_AWAY)
def test_the_role_can_still_do_what_postgresql_cannot_revoke(
    service: psycopg.Connection, role: tuple[psycopg.Connection, str], sql: str
) -> None:
    service.execute(sql.format(role[1]).encode())


def test_the_grant_of_earlier_versions_is_revoked(
    service: psycopg.Connection, role: tuple[psycopg.Connection, str]
) -> None:
    service.execute("reset role")
    service.execute(SQL("grant update (email) on users to {}").format(Identifier(role[1])))
    grant(service, role[1])
    service.execute(SQL("set local role {}").format(Identifier(role[1])))
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        service.execute("update users set email = 'other@example.com'")


def test_the_role_may_use_the_tables_of_later_migrations(
    service: psycopg.Connection, role: tuple[psycopg.Connection, str]
) -> None:
    service.execute("reset role")
    service.execute("create table later (id uuid)")
    service.execute(SQL("set local role {}").format(Identifier(role[1])))
    service.execute("insert into later values (gen_random_uuid())")
    assert service.execute("select count(*) from later").fetchone() == (1,)


def test_the_role_has_a_connection_limit_and_terse_errors(
    role: tuple[psycopg.Connection, str],
) -> None:
    owner, name = role
    row = owner.execute("select rolconnlimit, rolconfig from pg_roles where rolname = %s", (name,)).fetchone()
    assert row == (80, ["log_error_verbosity=terse"])
