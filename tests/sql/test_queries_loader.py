"""The loader of .sql files: what it reads, sends and refuses."""

import re
from pathlib import Path

import asyncpg
import pglast
import pytest

import service
from service.postgres.pool import Pool, deadline_after
from service.postgres.queries import DIRECTORY, SQL, parse

FILES = sorted(path.name for path in DIRECTORY.glob("*"))
STATEMENT = re.compile(r"-- name: \w+\n-- \S.*;", re.DOTALL)
ONE = "-- name: one\n-- A number.\nselect 1 as number;\n"
MALFORMED = {
    "nothing": "",
    "no header": "select 1;\n",
    "no sentence": "-- name: one\nselect 1;\n",
    "an empty sentence": "-- name: one\n--\nselect 1;\n",
    "more than a name": "-- name: one :many\n-- A number.\nselect 1;\n",
    "a bad name": "-- name: one-two\n-- A number.\nselect 1;\n",
    "a bad header further down": ONE + "-- name: two :many\n-- Another.\nselect 2;\n",
    "a header that is not seen": ONE + "  -- name: two\n-- Another.\nselect 2;\n",
    "a name twice": ONE + ONE,
    "no semicolon": ONE.replace(";", ""),
    "two statements": ONE + "select 2;\n",
    "no statement": "-- name: one\n-- A number.\n",
    "only a comment": "-- name: one\n-- A number.\n-- select 1;\n",
}


def well_formed(text: str) -> bool:
    """Whether an .sql file holds named statements, each with a comment, and nothing else."""
    statements = parse(text)
    return (
        len(statements) == text.count("-- name:") > 0
        and all(STATEMENT.fullmatch(query.sql) for query in statements.values())
        and all(len(pglast.parse_sql(query.sql)) == 1 for query in statements.values())
    )


@pytest.mark.parametrize("file", FILES)
def test_a_loaded_statement_is_the_text_of_the_file(file: str) -> None:
    text = (DIRECTORY / file).read_text("utf-8")
    assert well_formed(text)
    for name, query in parse(text).items():
        assert query.name == name
        assert query.sql in text


@pytest.mark.parametrize("text", MALFORMED.values(), ids=list(MALFORMED))
def test_the_format_check_finds_malformed_files(text: str) -> None:
    assert well_formed(ONE)
    assert not well_formed(text)


def test_no_name_is_used_in_two_files_and_the_code_uses_exactly_these() -> None:
    names = [name for file in FILES for name in parse((DIRECTORY / file).read_text("utf-8"))]
    code = "".join(path.read_text("utf-8") for path in Path(service.__file__).parent.rglob("*.py"))
    assert sorted(names) == sorted(set(re.findall(r"\bSQL\.(\w+)", code))) == sorted(vars(SQL))


@pytest.mark.anyio
async def test_the_server_gets_the_text_of_the_file(owner_url: str) -> None:
    sql = "-- name: seen\n-- What arrived.\nselect query from pg_stat_activity where pid = pg_backend_pid();"
    pool = Pool(owner_url)
    try:
        row = await pool.fetch_one(parse(sql + "\n")["seen"], deadline=deadline_after())
    finally:
        await pool.close()
    assert row["query"] == sql


@pytest.mark.anyio
async def test_the_position_of_an_error_points_into_the_file(owner_url: str) -> None:
    sql = "-- name: wrong\n-- A mistake.\nselect 1 as number,\n    nothing;"
    connection = await asyncpg.connect(owner_url)
    try:
        with pytest.raises(asyncpg.UndefinedColumnError) as raised:
            await connection.fetchrow(parse(sql)["wrong"].sql)
    finally:
        await connection.close()
    assert sql[int(raised.value.position or 0) - 1 :] == "nothing;"
