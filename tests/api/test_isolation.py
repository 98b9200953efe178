"""Isolation: no access to another user's tasks, and no access without a token."""

import asyncio
import uuid
from typing import Any

import httpx
import psycopg
import pytest
from starlette.routing import Route

from service.app import ROUTES
from tests.support.answers import assert_error
from tests.support.api import Api, User

pytestmark = pytest.mark.anyio

# All other operations need a token.
PUBLIC = {
    ("POST", "/api/auth/signup"), ("POST", "/api/auth/login"), ("GET", "/health"), ("HEAD", "/health"),
    ("GET", "/livez"),
    ("HEAD", "/livez"), ("GET", "/openapi.json"), ("HEAD", "/openapi.json"), ("GET", "/docs"), ("HEAD", "/docs"),
}  # fmt: skip
# Each endpoint is an object with a handler for each method; the type of Starlette's Route knows functions only.
OPERATIONS = {(method, route.path) for route in ROUTES for method in vars(route.endpoint)["handlers"]}
BODIES: tuple[dict[str, Any], ...] = (
    {}, {"title": "Stolen"}, {"title": ""}, {"completed": True}, {"completed": "x"}, {"description": None},
    {"unknown": 1},
)  # fmt: skip


def everything_but_its_id(response: httpx.Response) -> tuple[Any, ...]:
    headers = {name: value for name, value in response.headers.items() if name != "x-request-id"}
    return response.status_code, response.content, *headers.items()


async def test_all_operations_of_the_routes_are_known() -> None:
    assert all(isinstance(route, Route) for route in ROUTES)
    assert {("GET", "/api/tasks"), ("HEAD", "/api/tasks"), ("DELETE", "/api/tasks/{id}")} < OPERATIONS - PUBLIC
    assert PUBLIC < OPERATIONS


@pytest.mark.parametrize(("method", "path"), sorted(OPERATIONS - PUBLIC))
async def test_every_operation_that_is_not_public_is_401_without_a_token(api: Api, method: str, path: str) -> None:
    user = api.user()
    task = await api.task(user)
    path = path.replace("{id}", task["id"])
    for headers in ({}, {"Authorization": "Bearer forged"}, {"X-User-Id": user.id, "Cookie": f"user_id={user.id}"}):
        for sent in (b"", b"{", b'{"title": "Stolen"}', b"x" * 2_000_000):
            assert_error(await api.request(method, path, headers=headers, content=sent), 401, "Unauthorized")
    assert (await api.list_tasks(user)).json() == {"tasks": [task]}


@pytest.mark.parametrize(("method", "path"), sorted(PUBLIC))
async def test_public_operations_need_no_token(api: Api, method: str, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer forged"}):
        assert (await api.request(method, path, headers=headers)).status_code in (200, 400)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "POST", "PATCH"])
async def test_another_users_task_gets_the_same_404_as_an_unknown_task(api: Api, method: str) -> None:
    ada, eve = api.user(), api.user()
    task = await api.task(ada, title="Mine", description="Two litres")
    await api.task(eve)
    for sent in BODIES if method == "PUT" else BODIES[:2]:
        answers = [
            await api.request(method, f"/api/tasks/{task_id}", eve, json=sent)
            for task_id in (task["id"], task["id"].upper(), str(uuid.uuid4()), str(uuid.UUID(int=0)))
        ]
        assert len({everything_but_its_id(answer) for answer in answers}) == 1, sent
        assert answers[0].status_code in ({405} if method in ("POST", "PATCH") else {404, 400})
        assert answers[0].status_code != 400 or method == "PUT"
        if method != "PUT":
            malformed = await api.request(method, f"/api/tasks/{task['id']}x", eve, json=sent)
            assert everything_but_its_id(malformed) == everything_but_its_id(answers[0])
    assert (await api.list_tasks(ada)).json() == {"tasks": [task]}


async def test_a_valid_change_to_another_users_task_is_404_and_changes_nothing(api: Api) -> None:
    ada, eve = api.user(), api.user()
    task = await api.task(ada)
    for sent in ({}, {"title": "Stolen"}, {"completed": True}, {"description": None}, {"user_id": eve.id}):
        assert_error(await api.update_task(eve, task["id"], **sent), 404, "Task not found")
    assert_error(await api.delete_task(eve, task["id"]), 404, "Task not found")
    assert (await api.get_task(ada, task["id"])).json() == {"task": task}


async def test_the_owner_is_the_tokens_user_whatever_else_the_client_sends(api: Api) -> None:
    ada, eve = api.user(), api.user()
    adas_task = await api.task(ada)
    forged = {
        "X-User-Id": ada.id,
        "X-Forwarded-User": ada.id,
        "Cookie": f"user_id={ada.id}",
        "X-HTTP-Method-Override": "PUT",
    }
    query = f"?user_id={ada.id}&sub={ada.id}&owner={ada.id}"
    body = {"title": "Mine", "user_id": ada.id, "id": adas_task["id"], "owner": ada.id}
    created = await api.request("POST", f"/api/tasks{query}", eve, headers=forged, json=body)
    task = created.json()["task"]
    assert (created.status_code, task["user_id"]) == (201, eve.id)
    path = f"/api/tasks/{task['id']}{query}"
    changed = await api.request("PUT", path, eve, headers=forged, json={**body, "title": "Still mine"})
    assert changed.json()["task"]["user_id"] == eve.id
    assert (await api.get(f"/api/tasks{query}", eve, headers=forged)).json()["tasks"] == [changed.json()["task"]]
    theirs = f"/api/tasks/{adas_task['id']}{query}"
    assert_error(await api.request("DELETE", theirs, eve, headers=forged), 404, "Task not found")
    assert (await api.list_tasks(ada)).json() == {"tasks": [adas_task]}


async def test_two_users_tasks_with_the_same_id_are_separate(api: Api, owner: psycopg.Connection) -> None:
    ada, eve = api.user(), api.user()
    task = await api.task(ada, title="Ada's")
    owner.execute("insert into tasks (user_id, id, title) values (%s, %s, 'Eve''s')", (eve.id, task["id"]))
    await api.update_task(eve, task["id"], description="changed")
    assert (await api.get_task(ada, task["id"])).json() == {"task": task}
    assert (await api.get_task(eve, task["id"])).json()["task"]["title"] == "Eve's"
    assert (await api.delete_task(eve, task["id"])).status_code == 204
    assert (await api.list_tasks(ada)).json() == {"tasks": [task]}


async def test_a_hundred_concurrent_requests_do_not_mix_up_their_users(api: Api) -> None:
    users = [api.user() for _ in range(20)]

    async def create_and_list(user: User) -> None:
        for number in range(5):
            assert (await api.task(user, title=f"{user.id} {number}"))["user_id"] == user.id
            tasks = (await api.list_tasks(user)).json()["tasks"]
            assert [task["title"] for task in tasks] == [f"{user.id} {each}" for each in range(number, -1, -1)]

    await asyncio.gather(*(create_and_list(user) for user in users))
