"""Tasks: create, list, read, change, delete."""

import re
import uuid
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from tests.support.answers import assert_error
from tests.support.api import Api, serve, settings

pytestmark = pytest.mark.anyio

FIELDS = {"id", "title", "description", "completed", "user_id", "created_at", "updated_at"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")


async def test_a_new_task_has_the_form_of_the_contract(api: Api) -> None:
    user = api.user()
    response = await api.create_task(user, title="Buy milk")
    assert response.status_code == 201
    assert set(response.json()) == {"task"}
    task = response.json()["task"]
    assert set(task) == FIELDS
    assert uuid.UUID(task["id"]).version == 4
    assert task["id"] == str(uuid.UUID(task["id"]))
    assert (task["title"], task["description"], task["completed"]) == ("Buy milk", None, False)
    assert task["user_id"] == user.id


async def test_times_are_iso_8601_in_utc_ending_in_z(
    api: Api, owner: psycopg.Connection, database_name: str, database_url: str
) -> None:
    owner.execute(f"alter database \"{database_name}\" set timezone to 'Asia/Kathmandu'")
    owner.execute(f"alter database \"{database_name}\" set datestyle to 'German'")
    async with serve(settings(database_url), owner) as elsewhere:
        task = await elsewhere.task(elsewhere.user())
    for name in ("created_at", "updated_at"):
        assert TIME.fullmatch(task[name])
        assert abs((datetime.fromisoformat(task[name]) - datetime.now(UTC)).total_seconds()) < 10


async def test_every_call_answers_the_same_form(api: Api) -> None:
    user = api.user()
    created = await api.task(user, title="Buy milk", description="Two litres")
    read = await api.get_task(user, created["id"])
    assert (read.status_code, read.json()) == (200, {"task": created})
    listed = await api.list_tasks(user)
    assert (listed.status_code, listed.json()) == (200, {"tasks": [created]})
    changed = await api.update_task(user, created["id"], completed=True)
    assert changed.status_code == 200
    assert set(changed.json()) == {"task"}
    assert changed.json()["task"] == {**created, "completed": True, "updated_at": changed.json()["task"]["updated_at"]}


async def test_a_user_without_tasks_gets_an_empty_list(api: Api) -> None:
    response = await api.list_tasks(api.user())
    assert (response.status_code, response.json()) == (200, {"tasks": []})


async def test_the_list_is_newest_first_by_created_at(api: Api, owner: psycopg.Connection) -> None:
    user = api.user()
    ids = [(await api.task(user, title=f"task {number}"))["id"] for number in range(5)]
    await api.update_task(user, ids[0], title="a change does not move it")
    assert await _listed(api, user) == ids[::-1]
    owner.execute("update tasks set created_at = now() - interval '1 year' where id = %s", (ids[3],))
    owner.execute("update tasks set created_at = now() + interval '1 year' where id = %s", (ids[1],))
    assert await _listed(api, user) == [ids[1], ids[4], ids[2], ids[0], ids[3]]


async def _listed(api: Api, user: Any) -> list[str]:
    return [task["id"] for task in (await api.list_tasks(user)).json()["tasks"]]


async def test_a_deleted_task_is_gone(api: Api) -> None:
    user = api.user()
    kept, task = await api.task(user), await api.task(user)
    response = await api.delete_task(user, task["id"])
    assert (response.status_code, response.content) == (204, b"")
    assert "content-type" not in response.headers
    assert_error(await api.get_task(user, task["id"]), 404, "Task not found")
    assert_error(await api.update_task(user, task["id"], title="x"), 404, "Task not found")
    assert_error(await api.delete_task(user, task["id"]), 404, "Task not found")
    assert (await api.list_tasks(user)).json() == {"tasks": [kept]}


async def test_create_ignores_the_fields_that_a_client_may_not_set(api: Api) -> None:
    user, other = api.user(), api.user()
    forged_id = str(uuid.uuid4())
    forgeries: list[dict[str, Any]] = [
        {
            "id": forged_id,
            "user_id": other.id,
            "created_at": "1999-01-01T00:00:00Z",
            "updated_at": "1999-01-01T00:00:00Z",
        },
        {"completed": True},
        *(
            dict.fromkeys(("completed", "id", "user_id", "created_at", "updated_at", "owner", ""), value)
            for value in ODD
        ),
    ]
    for forgery in forgeries:
        task = await api.task(user, title="Mine", **forgery)
        assert task["id"] != forged_id
        assert (task["user_id"], task["completed"], task["title"]) == (user.id, False, "Mine"), forgery
        assert task["created_at"] == task["updated_at"]
        assert not task["created_at"].startswith("1999")
    assert (await api.list_tasks(other)).json() == {"tasks": []}


ODD: tuple[Any, ...] = ("yes", "", 1, 0, -1.5, None, [], {}, [[1]], {"a": {"b": None}}, "\x00", 10**30)


async def test_an_id_in_capitals_is_the_same_task(api: Api) -> None:
    user = api.user()
    task = await api.task(user)
    assert (await api.get_task(user, task["id"].upper())).json() == {"task": task}


async def test_an_id_that_is_not_a_uuid_is_404_like_an_unknown_task(api: Api) -> None:
    user = api.user()
    task_id = (await api.task(user))["id"]
    unknown = await api.get_task(user, str(uuid.uuid4()))
    assert_error(unknown, 404, "Task not found")
    for bad in (
        "1", "0", "-1", "null", "undefined", "[object Object]", "x" * 5000, task_id[:-1], task_id + "0",
        "{" + task_id + "}",
        "urn:uuid:" + task_id, task_id.replace("-", "", 1), "%00", task_id + "%00", task_id + "%0A", "%20" + task_id,
        "%FF%FE",
        "' or 1=1 --", "😀", "٣" * 8, "..%5c", "%2e", "*",
    ):  # fmt: skip
        for method in ("GET", "PUT", "DELETE"):
            response = await api.request(method, f"/api/tasks/{bad}", user, json={"title": "x"})
            assert_error(response, 404, "Task not found")
            assert response.content == unknown.content, bad


async def test_query_parameters_are_ignored(api: Api) -> None:
    user, other = api.user(), api.user()
    task = await api.task(user)
    query = f"?user_id={other.id}&id=1&limit=0&created_at=x&%00=%FF&completed=true&order=asc"
    assert (await api.get(f"/api/tasks{query}", user)).json() == {"tasks": [task]}
    assert (await api.get(f"/api/tasks/{task['id']}{query}", user)).json() == {"task": task}
    created = await api.request("POST", f"/api/tasks{query}", user, json={"title": "x"})
    assert created.json()["task"]["user_id"] == user.id
