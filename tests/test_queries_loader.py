"""The loader of .sql files: what it reads, what it sends, what it refuses."""

import re
from pathlib import Path
from typing import NamedTuple

import asyncpg
import pytest

from service import queries
from service.database import Database
from service.queries import DIRECTORY, Query, load, parse

FILES = sorted(path.name for path in DIRECTORY.glob("*"))
ONE = "-- name: one :one\n-- A number.\nselect 1 as number;\n"
TWO = "-- name: two :one\n-- Another.\nselect ';' as it, 'it''s -- no comment;' as other;\n"
HEADER = "each statement needs the header"
MALFORMED = {
    "nothing": ("", HEADER),
    "no header": ("select 1;\n", HEADER),
    "no sentence": ("-- name: one :one\nselect 1;\n", HEADER),
    "an empty sentence": ("-- name: one :one\n--\nselect 1;\n", HEADER),
    "no kind": ("-- name: one\n-- A number.\nselect 1;\n", HEADER),
    "another kind": ("-- name: one :many\n-- A number.\nselect 1;\n", HEADER),
    "a bad name": ("-- name: one-two :one\n-- A number.\nselect 1;\n", HEADER),
    "a bad header further down": (ONE + "-- name: two\n-- Another.\nselect 2;\n", HEADER),
    "a name twice": (ONE + ONE, "the name one is used twice"),
    "no semicolon": (ONE.replace(";", ""), "one must be one statement that ends with a semicolon"),
    "two statements": (ONE + "select 2;\n", "one must be one statement that ends with a semicolon"),
    "no statement": ("-- name: one :one\n-- A number.\n", "one must be one statement that ends with a semicolon"),
    "only a comment": ("-- name: one :one\n-- A number.\n-- select 1;\n", "one must be one statement"),
}


class One(NamedTuple):
    one: Query


class Two(NamedTuple):
    one: Query
    two: Query


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(queries, "DIRECTORY", tmp_path)
    return tmp_path


@pytest.mark.parametrize("file", FILES)
def test_a_statement_is_what_stands_on_disk(file: str) -> None:
    text = (DIRECTORY / file).read_text("utf-8")
    statements = parse(text)
    assert re.findall(r"^-- name: (\w+)", text, re.MULTILINE) == list(statements)
    for name, query in statements.items():
        assert query.name == name
        assert query.sql in text
        assert query.sql.startswith(f"-- name: {name} :one\n-- ")


def test_a_file_is_read_into_its_names(folder: Path) -> None:
    (folder / "numbers.sql").write_text(f"-- Numbers.\n\n{ONE}\n{TWO}")
    loaded = load(Two)
    assert loaded.one == Query("one", ONE.strip())
    assert loaded.two.sql == TWO.strip()


@pytest.mark.parametrize(("text", "reason"), MALFORMED.values(), ids=list(MALFORMED))
def test_what_is_malformed_is_refused_with_the_files_name(folder: Path, text: str, reason: str) -> None:
    (folder / "numbers.sql").write_text(text)
    with pytest.raises(ValueError, match=f"^numbers.sql: {reason}"):
        load(One)


def test_the_names_are_exactly_those_of_the_file(folder: Path) -> None:
    (folder / "numbers.sql").write_text(ONE)
    with pytest.raises(ValueError, match=r"differ in two$"):
        load(Two)
    (folder / "numbers.sql").write_text(ONE + TWO)
    with pytest.raises(ValueError, match=r"differ in two$"):
        load(One)


def test_a_name_in_two_files_is_refused(folder: Path) -> None:
    for file in ("numbers.sql", "others.sql"):
        (folder / file).write_text(ONE)
    with pytest.raises(ValueError, match=r"^others\.sql: the name one is used in another file$"):
        load(One)


def test_a_missing_file_is_an_error(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"differ in one$"):
        load(One)


@pytest.mark.anyio
async def test_the_server_sees_the_text_on_disk(owner_url: str) -> None:
    sql = "-- name: seen :one\n-- What arrived.\nselect query from pg_stat_activity where pid = pg_backend_pid();"
    database = Database(owner_url)
    try:
        row = await database.one(parse(sql + "\n")["seen"])
    finally:
        await database.close()
    assert row["query"] == sql


@pytest.mark.anyio
async def test_an_errors_position_points_into_the_file(owner_url: str) -> None:
    sql = "-- name: wrong :one\n-- A mistake.\nselect 1 as number,\n    nothing;"
    connection = await asyncpg.connect(owner_url)
    try:
        with pytest.raises(asyncpg.UndefinedColumnError) as raised:
            await connection.fetchrow(parse(sql)["wrong"].sql)
    finally:
        await connection.close()
    assert sql[int(raised.value.position or 0) - 1 :] == "nothing;"
