"""Tokens: which are accepted, and the one 401 for all others."""

import asyncio
import time
import uuid

import jwt
import psycopg
import pytest

from tests.support.answers import assert_error
from tests.support.api import SECRET, Api, serve, settings, token
from tests.support.token_status import status

pytestmark = pytest.mark.anyio


async def test_an_issued_token_is_hs256_with_user_id_and_email(api: Api) -> None:
    account = (await api.sign_up("ada@example.com")).json()
    assert jwt.get_unverified_header(account["token"])["alg"] == "HS256"
    claims = jwt.decode(account["token"], SECRET, ["HS256"])
    assert set(claims) == {"user_id", "sub", "email", "iat", "exp"}
    assert claims["user_id"] == claims["sub"] == account["user"]["id"]
    assert claims["email"] == "ada@example.com"
    assert abs(claims["iat"] - time.time()) < 10
    assert claims["exp"] - claims["iat"] == 24 * 3600


async def test_a_token_lasts_as_long_as_jwt_expiration_hours(database_url: str) -> None:
    async with serve(settings(database_url, jwt_expiration_hours=0.5)) as api:
        claims = jwt.decode((await api.sign_up("ada@example.com")).json()["token"], SECRET, ["HS256"])
    assert claims["exp"] - claims["iat"] == 1800


async def test_the_scheme_bearer_is_accepted_in_any_case(api: Api) -> None:
    user = api.user()
    for scheme in ("Bearer", "bearer", "BEARER", "bEaReR"):
        assert await status(api, f"{scheme} {user.token}") == 200, scheme


async def test_an_authorization_header_above_8_kib_is_401_even_with_a_valid_token(api: Api) -> None:
    good = f"Bearer {api.user().token}"
    assert await status(api, good.ljust(8 * 1024)) == 200
    assert await status(api, good.ljust(8 * 1024 + 1)) == 401


async def test_a_header_without_a_bearer_token_is_401(api: Api) -> None:
    good = api.user().token
    assert_error(await api.get("/api/tasks"), 401, "Unauthorized")
    for authorization in (
        "", " ", "Bearer", "Bearer ", "Bearer null", "Bearer undefined", "Bearer ..", "Bearer a.b.c", good,
        f"Basic {good}",
        f"Token {good}", f"Bearer{good}", f"Bearer:{good}", f"Bearer {good} {good}", f"Bearer {good},",
        f"Bearer {good[:-1]}",
        f"Bearer {good}x", f'Bearer "{good}"', f"Bearer {good.rpartition('.')[0]}.", "Bearer " + "x" * 50_000,
    ):  # fmt: skip
        assert await status(api, authorization) == 401, authorization


async def test_two_authorization_headers_are_401(api: Api) -> None:
    good, other = (f"Bearer {api.user().token}" for _ in range(2))
    for pair in ((good, other), (good, "Bearer x"), ("Bearer x", good)):
        headers = [("Authorization", value) for value in pair]
        response = await api.client.get("/api/tasks", headers=headers)
        assert_error(response, 401, "Unauthorized")


async def test_a_token_outside_the_authorization_header_is_401(api: Api) -> None:
    good = api.user().token
    assert_error(await api.get(f"/api/tasks?token={good}&access_token={good}"), 401, "Unauthorized")
    assert_error(await api.get("/api/tasks", headers={"Cookie": f"token={good}; session={good}"}), 401, "Unauthorized")
    assert_error(await api.get("/api/tasks", headers={"X-Access-Token": good}), 401, "Unauthorized")


async def test_no_token_is_accepted_after_its_exp(api: Api) -> None:
    expires = int(time.time()) + 2
    short = token(user_id=api.user().id, exp=expires)
    assert await status(api, f"Bearer {short}") == 200
    await asyncio.sleep(expires - time.time() + 0.01)
    assert await status(api, f"Bearer {short}") == 401


async def test_every_401_has_the_same_bytes(api: Api) -> None:
    task_id = (await api.task(api.user()))["id"]
    expired = {"Authorization": f"Bearer {token(user_id=str(uuid.uuid4()), exp=1)}"}
    answers = set()
    for method, path in (
        ("GET", "/api/tasks"),
        ("POST", "/api/tasks"),
        ("PUT", f"/api/tasks/{task_id}"),
        ("DELETE", "/api/tasks/x"),
    ):
        for headers in (expired, {"Authorization": "Basic x"}, {"Authorization": "Bearer x"}):
            response = await api.request(method, path, headers=headers)
            assert_error(response, 401, "Unauthorized")
            kept = {name: value for name, value in response.headers.items() if name != "x-request-id"}
            answers.add((response.content, *kept.items()))
    assert len(answers) == 1, answers


async def test_the_token_of_a_deleted_user_reads_nothing_and_creates_nothing(
    api: Api, owner: psycopg.Connection
) -> None:
    user = api.user()
    task = await api.task(user)
    owner.execute("delete from users where id = %s", (user.id,))
    assert_error(await api.create_task(user), 401, "Unauthorized")
    assert (await api.list_tasks(user)).json() == {"tasks": []}
    assert_error(await api.get_task(user, task["id"]), 404, "Task not found")
    assert_error(await api.update_task(user, task["id"], title="x"), 404, "Task not found")
    assert_error(await api.delete_task(user, task["id"]), 404, "Task not found")


async def test_each_request_is_one_statement(api: Api, statements: list[str]) -> None:
    user = api.user()
    task_id = (await api.task(user))["id"]
    statements.clear()
    await api.create_task(user)
    await api.list_tasks(user)
    await api.get_task(user, task_id)
    await api.update_task(user, task_id, completed=True)
    await api.delete_task(user, task_id)
    assert statements == ["create_task", "list_tasks", "get_task", "update_task", "delete_task"]
