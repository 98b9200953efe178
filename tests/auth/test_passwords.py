"""Passwords: which are accepted, how they are stored, and that they are never shown."""

import logging

import bcrypt
import httpx
import psycopg
import pytest

from tests.support.answers import assert_error
from tests.support.api import Api

pytestmark = pytest.mark.anyio

EMAIL = "ada@example.com"


async def test_fewer_than_8_characters_are_400(api: Api) -> None:
    for password in ("1234567", "é" * 7, "😀" * 7, " " * 7, "e\u0301" * 3):
        assert_error(await api.sign_up(EMAIL, password), 400, "Password must be at least 8 characters")


@pytest.mark.parametrize("password", ["12345678", "😀" * 18, "  in blanks  "])
async def test_passwords_from_8_characters_to_72_bytes_are_accepted_unchanged(api: Api, password: str) -> None:
    assert (await api.sign_up(EMAIL, password)).status_code == 201
    assert (await api.log_in(EMAIL, password)).status_code == 200
    for other in {password[:-1], password.strip()} - {password}:
        assert_error(await api.log_in(EMAIL, other), 401, "Invalid email or password")


async def test_more_than_72_bytes_are_400_at_sign_up(api: Api) -> None:
    for password in ("x" * 73, "é" * 37, "€" * 25, "😀" * 19, "x" * 71 + "é", "x" * 10_000):
        response = await api.sign_up(EMAIL, password)
        assert_error(response, 400)
        assert "72" in response.json()["error"]


async def test_more_than_72_bytes_are_401_at_log_in_even_if_the_first_72_are_right(api: Api) -> None:
    assert (await api.sign_up(EMAIL, "x" * 72)).status_code == 201
    for password in ("x" * 73, "x" * 10_000):
        assert_error(await api.log_in(EMAIL, password), 401, "Invalid email or password")


async def test_passwords_are_stored_as_bcrypt_of_cost_12_with_different_salts(
    api: Api, owner: psycopg.Connection
) -> None:
    await api.sign_up(EMAIL, "correct horse")
    await api.sign_up("eve@example.com", "correct horse")
    hashes = [row[0] for row in owner.execute("select password_hash from users").fetchall()]
    assert len(set(hashes)) == 2
    for stored in hashes:
        assert stored.startswith("$2b$12$")
        assert bcrypt.checkpw(b"correct horse", stored.encode())


async def test_neither_password_nor_hash_is_returned_or_logged(
    api: Api, owner: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    password, wrong, long = "Tr0ub4dor&3 right", "Tr0ub4dor&3 wrong", "Tr0ub4dor&3" * 8
    answers = [
        await api.sign_up(EMAIL, password),
        await api.sign_up(EMAIL, password),
        await api.sign_up(EMAIL, long),
        await api.sign_up(EMAIL, "Tr0ub4d"),
        await api.log_in(EMAIL, password),
        await api.log_in(EMAIL, wrong),
        await api.log_in(EMAIL, long),
        await api.request("POST", "/api/auth/login", content=f'{{"email": "{EMAIL}", "password": "{password}"'),
    ]
    assert [answer.status_code for answer in answers] == [201, 409, 400, 400, 200, 401, 401, 400]
    _assert_not_shown("Tr0ub4d", answers, caplog)
    _assert_not_shown("$2b$", answers, caplog)
    owner.execute("alter table users drop column password_hash")
    answers = [await api.sign_up("eve@example.com", password), await api.log_in(EMAIL, password)]
    assert [answer.status_code for answer in answers] == [500, 500]
    _assert_not_shown("Tr0ub4d", answers, caplog)
    _assert_not_shown("$2b$", answers, caplog)


async def test_the_hash_is_not_logged_when_the_database_refuses_the_row(
    api: Api, owner: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """PostgreSQL's error has the failing row in its detail."""
    owner.execute("alter table users add constraint of_another_release check (char_length(email) > 1000)")
    assert_error(await api.sign_up(EMAIL, "Tr0ub4dor&3"), 500, "Internal server error")
    assert "of_another_release" in caplog.text
    _assert_not_shown("$2b$", [], caplog)


def _assert_not_shown(secret: str, answers: list[httpx.Response], caplog: pytest.LogCaptureFixture) -> None:
    assert secret not in caplog.text
    for answer in answers:
        assert secret not in answer.text
        assert secret not in str(answer.headers)
