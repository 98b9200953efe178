"""PUT: partial updates, and the times that it moves."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.support.answers import assert_error
from tests.support.api import Api

pytestmark = pytest.mark.anyio


async def test_fields_that_are_not_sent_stay(api: Api) -> None:
    user = api.user()
    changes: list[dict[str, Any]] = [
        {"title": "Buy bread"}, {"description": "Rye"}, {"completed": True}, {"completed": False},
        {"description": None},
        {"title": "Buy tea", "completed": True}, {"title": "Buy rice", "description": "Basmati"},
        {"description": "Round", "completed": False}, {"title": "All", "description": "of them", "completed": True},
    ]  # fmt: skip
    task = await api.task(user, title="Buy milk", description="Two litres")
    for sent in changes:
        response = await api.update_task(user, task["id"], **sent)
        assert response.status_code == 200, response.text
        changed = response.json()["task"]
        assert changed == {**task, **sent, "updated_at": changed["updated_at"]}, sent
        assert (await api.get_task(user, task["id"])).json()["task"] == changed
        task = changed


async def test_null_and_the_empty_string_clear_the_description(api: Api) -> None:
    user = api.user()
    for cleared in (None, ""):
        task = await api.task(user, description="Two litres")
        response = await api.update_task(user, task["id"], description=cleared)
        assert response.status_code == 200
        assert not response.json()["task"]["description"]
        assert not (await api.get_task(user, task["id"])).json()["task"]["description"]


async def test_an_empty_description_is_accepted_at_creation(api: Api) -> None:
    user = api.user()
    assert not (await api.task(user, description=""))["description"]
    assert (await api.task(user, description=None))["description"] is None
    assert (await api.task(user))["description"] is None


async def test_every_change_moves_updated_at_forward_and_created_at_never(api: Api) -> None:
    user = api.user()
    created = await api.task(user)
    times = [created["updated_at"]]
    for sent in (
        {"title": "Buy bread"},
        {"title": "Buy bread"},
        {"completed": True},
        {"completed": True},
        {"description": None},
    ):
        task = (await api.update_task(user, created["id"], **sent)).json()["task"]
        times.append(task["updated_at"])
        assert task["created_at"] == created["created_at"]
    assert sorted(set(times)) == times


async def test_updated_at_moves_forward_even_if_the_clock_was_set_back(api: Api, owner: psycopg.Connection) -> None:
    user = api.user()
    task = await api.task(user)
    ahead = datetime.now(UTC) + timedelta(hours=1)
    owner.execute("update tasks set updated_at = %s where id = %s", (ahead, task["id"]))
    before = (await api.get_task(user, task["id"])).json()["task"]["updated_at"]
    after = (await api.update_task(user, task["id"], completed=True)).json()["task"]["updated_at"]
    assert after > before


async def test_a_put_without_known_fields_returns_the_task_unchanged(api: Api) -> None:
    user, other = api.user(), api.user()
    task = await api.task(user, description="Two litres")
    forged = {"id": str(uuid.uuid4()), "user_id": other.id, "created_at": "1999-01-01T00:00:00Z", "updated_at": None}
    for sent in ({}, {"unknown": 1}, {"Title": "x", "COMPLETED": True}, forged):
        response = await api.update_task(user, task["id"], **sent)
        assert (response.status_code, response.json()) == (200, {"task": task}), sent
        assert_error(await api.update_task(other, task["id"], **sent), 404, "Task not found")
        assert_error(await api.update_task(user, str(uuid.uuid4()), **sent), 404, "Task not found")


async def test_put_ignores_the_fields_that_a_client_may_not_set(api: Api) -> None:
    user, other = api.user(), api.user()
    task = await api.task(user)
    forged = {"id": str(uuid.uuid4()), "user_id": other.id, "created_at": "1999-01-01T00:00:00Z", "updated_at": "x"}
    changed = (await api.update_task(user, task["id"], title="Still mine", **forged)).json()["task"]
    assert changed == {**task, "title": "Still mine", "updated_at": changed["updated_at"]}
    assert not changed["updated_at"].startswith("x")
    assert (await api.list_tasks(other)).json() == {"tasks": []}


async def test_completed_is_a_json_boolean_and_nothing_else(api: Api) -> None:
    user = api.user()
    task = await api.task(user)
    invalid: tuple[Any, ...] = ("true", "false", "", "yes", 1, 0, 1.0, None, [], [True], {})
    for bad in invalid:
        response = await api.update_task(user, task["id"], completed=bad)
        assert response.status_code == 400, bad
        assert_error(response, 400)
    for good in (True, False):
        assert (await api.update_task(user, task["id"], completed=good)).json()["task"]["completed"] is good


async def test_a_refused_change_changes_nothing(api: Api) -> None:
    user = api.user()
    task = await api.task(user, description="Two litres")
    good = {"title": "Buy bread", "description": "Rye", "completed": True}
    refused: list[dict[str, Any]] = [{"title": ""}, {"title": None}, {"title": 1}, {"description": 1}, {"completed": 1}]
    for bad in (*refused, {"title": "x" * 256}, {"description": "x" * 1001}):
        assert_error(await api.update_task(user, task["id"], **{**good, **bad}), 400)
        assert (await api.get_task(user, task["id"])).json() == {"task": task}
