"""Sign-up and log-in."""

import asyncio
import uuid
from typing import Any

import bcrypt
import httpx
import psycopg
import pytest

from service.postgres.pool import Pool
from tests.support.answers import assert_error
from tests.support.api import PASSWORD, Api, token

pytestmark = pytest.mark.anyio

SIGN_UP, LOG_IN = "/api/auth/signup", "/api/auth/login"
INCOMPLETE: list[dict[str, Any]] = [
    {}, {"email": "ada@example.com"}, {"password": PASSWORD}, {"email": "", "password": ""},
    {"email": "ada@example.com", "password": ""}, {"email": "", "password": PASSWORD},
    {"email": " \t", "password": PASSWORD}, {"email": None, "password": None},
    {"email": "ada@example.com", "password": None}, {"email": None, "password": PASSWORD},
    {"email": 1, "password": PASSWORD}, {"email": "ada@example.com", "password": 12345678},
    {"email": ["ada@example.com"], "password": PASSWORD}, {"email": "ada@example.com", "password": {"a": 1}},
    {"email": True, "password": True},
]  # fmt: skip


def assert_account(response: httpx.Response, status: int, email: str) -> str:
    """Checks the answer, which has the same form for both calls; returns the user's id."""
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"token", "user"}
    assert body["user"] == {"id": str(uuid.UUID(body["user"]["id"])), "email": email}
    return str(body["user"]["id"])


async def test_sign_up_and_log_in_return_the_same_account(api: Api) -> None:
    signed_up = assert_account(await api.sign_up("ada@example.com"), 201, "ada@example.com")
    assert assert_account(await api.log_in("ada@example.com"), 200, "ada@example.com") == signed_up


async def test_the_tokens_of_both_calls_are_accepted_for_tasks(api: Api) -> None:
    for response in (await api.sign_up("ada@example.com"), await api.log_in("ada@example.com")):
        headers = {"Authorization": f"Bearer {response.json()['token']}"}
        assert (await api.get("/api/tasks", headers=headers)).json() == {"tasks": []}


async def test_a_registered_email_is_409_in_any_case(api: Api) -> None:
    await api.sign_up("ada@example.com")
    for email in ("ada@example.com", "ADA@Example.COM", " Ada@example.com "):
        assert_error(await api.sign_up(email, "another password"), 409, "Email already registered")
    assert (await api.log_in("ada@example.com")).status_code == 200, "the first password is still valid"


async def test_of_two_simultaneous_sign_ups_exactly_one_succeeds(api: Api, owner: psycopg.Connection) -> None:
    responses = await asyncio.gather(api.sign_up("ada@example.com"), api.sign_up("ADA@Example.com"))
    accepted, refused = sorted(responses, key=lambda response: response.status_code)
    assert accepted.status_code == 201
    assert_error(refused, 409, "Email already registered")
    assert owner.execute("select count(*) from users").fetchone() == (1,)


async def test_a_missing_or_mistyped_field_is_400(api: Api) -> None:
    for sent in INCOMPLETE:
        assert_error(await api.request("POST", SIGN_UP, json=sent), 400)
        assert_error(await api.request("POST", LOG_IN, json=sent), 400, "Email and password required")


async def test_unknown_fields_are_ignored(api: Api) -> None:
    forged = {"id": str(uuid.uuid4()), "user_id": 1, "password_hash": "x", "created_at": None, "role": "admin"}
    sent = {"email": "ada@example.com", "password": PASSWORD, **forged}
    user_id = assert_account(await api.request("POST", SIGN_UP, json=sent), 201, "ada@example.com")
    assert user_id != forged["id"]
    assert assert_account(await api.request("POST", LOG_IN, json=sent), 200, "ada@example.com") == user_id


async def test_a_stale_authorization_header_is_ignored(api: Api) -> None:
    garbage = {"Authorization": "Bearer stale"}
    expired = {"Authorization": f"Bearer {token(user_id=str(uuid.uuid4()), exp=1)}"}
    assert_account(await api.sign_up("ada@example.com", headers=garbage), 201, "ada@example.com")
    assert_account(await api.log_in("ada@example.com", headers=expired), 200, "ada@example.com")
    wrong = await api.log_in("ada@example.com", "a wrong password", headers={"Authorization": ""})
    assert_error(wrong, 401, "Invalid email or password")


async def test_sign_up_and_log_in_are_never_cached(api: Api) -> None:
    for response in (
        await api.sign_up("ada@example.com"),
        await api.log_in("ada@example.com"),
        await api.log_in("ada@example.com", "a wrong password"),
        await api.request("POST", SIGN_UP, content=b""),
        await api.request("GET", LOG_IN),
    ):
        assert response.headers["cache-control"] == "no-store"


class Work:
    """Counts the statements and the bcrypt checks of a log-in, without replacing them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        check, one = bcrypt.checkpw, Pool.fetch_one

        def counted_check(password: bytes, password_hash: bytes) -> bool:
            self.done.append(f"bcrypt {password_hash[:7].decode()}")
            return check(password, password_hash)

        async def counted_one(database: Pool, query: Any, *args: Any, **others: Any) -> Any:
            self.done.append(query.name)
            return await one(database, query, *args, **others)

        monkeypatch.setattr(bcrypt, "checkpw", counted_check)
        monkeypatch.setattr(Pool, "fetch_one", counted_one)


async def test_an_unknown_email_is_answered_like_a_wrong_password(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.sign_up("ada@example.com")
    work = Work(monkeypatch)
    failures = {
        ("ada@example.com", "a wrong password"), ("nobody@example.com", PASSWORD), ("no address", PASSWORD),
        ("ada@example.com", "x" * 100), (f"{'a' * 300}@example.com", "short"),
    }  # fmt: skip
    answers, works = set(), set()
    for email, password in failures:
        work.done.clear()
        response = await api.log_in(email, password)
        assert_error(response, 401, "Invalid email or password")
        headers = {name: value for name, value in response.headers.items() if name != "x-request-id"}
        answers.add((response.content, *headers.items()))
        works.add(tuple(work.done))
    assert len(answers) == 1, answers
    assert len(works) == 1, works
    assert [step for step in works.pop() if step in ("find_user", "bcrypt $2b$12$")] == ["find_user", "bcrypt $2b$12$"]
