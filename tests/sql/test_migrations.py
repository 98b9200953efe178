"""Migrations: apply, roll back, apply again, recover after a kill; their result is sql/schema.sql."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from pglast import ast, parse_sql

from service.errors import StartError
from service.postgres import migrations
from service.postgres.migrations import migrate, rollback
from service.postgres.schema import MIGRATIONS, names
from tests.support.databases import at, database
from tools.dump_schema import HEADER, SCHEMA, dump

NAMES = sorted(names())
FILES = sorted(MIGRATIONS.glob("*"))


@pytest.fixture
def empty(server: str) -> Iterator[str]:
    """The URL of an empty database."""
    with database(server) as name:
        yield at(server, name)


def test_migrations_can_be_applied_rolled_back_and_applied_again(empty: str) -> None:
    assert migrate(empty) == NAMES
    assert migrate(empty) == []
    before = dump(empty)
    for name in reversed(NAMES):
        assert rollback(empty) == [name]
    assert rollback(empty) == []
    assert dump(empty).strip() == HEADER.strip()
    assert migrate(empty) == NAMES
    assert dump(empty) == before


def test_schema_sql_is_the_result_of_the_migrations(owner_url: str) -> None:
    assert dump(owner_url) == SCHEMA.read_text("utf-8"), "run `make schema`"


@pytest.mark.parametrize("name", NAMES)
def test_a_migration_that_was_not_recorded_before_a_kill_is_applied_again(
    owner_url: str, owner: psycopg.Connection, name: str
) -> None:
    before = dump(owner_url)
    for table in ("_yoyo_migration", "_yoyo_log"):
        owner.execute(f"delete from {table} where migration_id = %s".encode(), [name])
    assert migrate(owner_url) == [name]
    assert dump(owner_url) == before


def test_a_rollback_that_was_not_recorded_before_a_kill_runs_again(owner_url: str, owner: psycopg.Connection) -> None:
    for name in reversed(NAMES):
        row = owner.execute("select * from _yoyo_migration where migration_id = %s", [name]).fetchone()
        assert row is not None
        assert rollback(owner_url) == [name]
        owner.execute(f"insert into _yoyo_migration values ({', '.join(['%s'] * len(row))})".encode(), row)
        assert rollback(owner_url) == [name]


def test_a_stale_row_in_yoyos_lock_table_blocks_nothing(owner_url: str, owner: psycopg.Connection) -> None:
    rollback(owner_url)
    owner.execute("insert into yoyo_lock (locked, ctime, pid) values (1, now(), 1)")
    assert migrate(owner_url) == NAMES[-1:]


def test_a_migration_waits_for_a_table_lock_only_for_a_limited_time(owner_url: str, owner: psycopg.Connection) -> None:
    while rollback(owner_url) != ["0002.create-tasks"]:
        pass
    with psycopg.connect(owner_url) as other:
        other.execute("lock table users in access exclusive mode")
        with pytest.raises(StartError, match=r"^[A-Z][^\n]+\.$"):
            migrate(owner_url)
    assert migrate(owner_url) == NAMES[1:]


def test_rolling_back_federated_users_is_refused_while_there_are_some(
    owner_url: str, owner: psycopg.Connection
) -> None:
    for later in reversed(NAMES[NAMES.index("0005.federated-users") + 1 :]):
        assert rollback(owner_url) == [later]
    owner.execute("insert into users (id) values (gen_random_uuid())")
    owner.execute("insert into tasks (user_id, id, title) select id, gen_random_uuid(), 'Buy milk' from users")
    before = dump(owner_url)
    with pytest.raises(StartError, match='"email" of relation "users" contains null values'):
        rollback(owner_url)
    assert dump(owner_url) == before
    assert owner.execute("select title from tasks").fetchall() == [("Buy milk",)]
    owner.execute("delete from users where email is null")
    assert rollback(owner_url) == ["0005.federated-users"]


def test_emails_are_normalised_unless_another_account_has_the_result(owner_url: str, owner: psycopg.Connection) -> None:
    while rollback(owner_url) != ["0006.normalise-emails"]:
        pass
    insert = "insert into users (id, email, password_hash) values (gen_random_uuid(), %s, '')"
    for email in ("j\u030c@example.com", "twoj\u030c@example.com", "two\u01f0@example.com"):
        owner.execute(insert, (email,))
    migrate(owner_url)
    stored = {row[0] for row in owner.execute("select email from users")}
    assert stored == {"\u01f0@example.com", "twoj\u030c@example.com", "two\u01f0@example.com"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the migrations, to which a test may add."""
    copy = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, copy)
    monkeypatch.setattr(migrations, "MIGRATIONS", copy)
    return copy


def test_a_migration_that_yoyo_skips_is_an_error(owner_url: str, folder: Path) -> None:
    (folder / "9999.lost.sql").write_text("-- depends: 9998.nowhere\n\nselect 1;\n")
    with pytest.raises(StartError, match=r"^9999\.lost was not applied"):
        migrate(owner_url)


def test_a_failed_migration_changes_nothing(owner_url: str, owner: psycopg.Connection, folder: Path) -> None:
    before = dump(owner_url)
    (folder / "9998.works.sql").write_text("create table works (id uuid);\n")
    (folder / "9999.fails.sql").write_text("create table fails (id uuid);\nselect 1 / 0;\n")
    with pytest.raises(StartError, match="division by zero"):
        migrate(owner_url)
    owner.execute("drop table works")
    assert dump(owner_url) == before
    applied = {row[0] for row in owner.execute("select migration_id from _yoyo_migration")}
    assert applied == {*NAMES, "9998.works"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_leaves_transactions_to_yoyo_and_limits_its_wait_for_locks(path: Path) -> None:
    first, *others = [raw.stmt for raw in parse_sql(path.read_text("utf-8"))]
    assert isinstance(first, ast.VariableSetStmt) and (first.name, first.is_local) == ("lock_timeout", True)
    assert others
    assert not any(isinstance(statement, ast.TransactionStmt | ast.VariableSetStmt) for statement in others)
    assert "-- transactional" not in path.read_text("utf-8")


def test_each_migration_has_its_rollback_and_a_number_of_its_own() -> None:
    assert {path.name for path in FILES} == {f"{name}{end}.sql" for name in NAMES for end in ("", ".rollback")}
    assert [name[:5] for name in NAMES] == [f"{number:04}." for number in range(1, len(NAMES) + 1)]
