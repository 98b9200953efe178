"""Idempotency-Key: a repeated create makes no second task."""

import asyncio
import uuid

import psycopg
import pytest

from service.web import idempotency
from tests.support.answers import assert_error, check
from tests.support.api import SECRET, Api, User, serve, settings

pytestmark = pytest.mark.anyio

BAD_KEY = "Idempotency-Key must be 1 to 255 printable characters"
OTHER_TASK = "This Idempotency-Key was used for another task"


async def post(api: Api, user: User, *keys: bytes, content: bytes = b'{"title": "Buy milk"}') -> tuple[int, str]:
    """Status and body of a create with these headers, as bytes."""
    headers = [(b"authorization", user.headers["Authorization"].encode()), *((b"idempotency-key", k) for k in keys)]
    response = await api.client.post("/api/tasks", headers=headers, content=content)
    check(response)
    return response.status_code, response.text


async def test_a_repeated_create_returns_the_first_task(api: Api) -> None:
    user = api.user()
    first = await api.create_task(user, key="k1", title=" Buy milk ", description="Two litres")
    again = await api.create_task(user, key="k1", title="Buy milk\u2003", description="Two litres")
    assert (first.status_code, first.content) == (again.status_code, again.content) == (201, first.content)
    assert first.headers["etag"] == again.headers["etag"]
    assert (await api.list_tasks(user)).json() == {"tasks": [first.json()["task"]]}
    other = await api.create_task(user, key="k2", title="Buy milk", description="Two litres")
    assert other.json()["task"]["id"] != first.json()["task"]["id"]


async def test_a_repeated_create_returns_the_task_as_it_is_now(api: Api) -> None:
    user = api.user()
    task = (await api.create_task(user, key="k1")).json()["task"]
    changed = (await api.update_task(user, task["id"], title="Buy oats", completed=True, description="x")).json()
    again = await api.create_task(user, key="k1")
    assert (again.status_code, again.json()) == (201, changed)
    assert_error(await api.create_task(user, key="k1", title="Buy oats", description="x"), 422, OTHER_TASK)
    assert (await api.get_task(user, task["id"])).json() == changed


@pytest.mark.parametrize("other", [{"title": "buy milk"}, {"description": ""}, {"description": "x"}])
async def test_a_key_used_for_another_task_is_422(api: Api, other: dict[str, str]) -> None:
    user = api.user()
    task = (await api.create_task(user, key="k1")).json()["task"]
    assert_error(await api.create_task(user, key="k1", **other), 422, OTHER_TASK)
    assert (await api.create_task(user, key="k1", description=None, completed=True)).json() == {"task": task}
    assert (await api.list_tasks(user)).json() == {"tasks": [task]}


async def test_two_users_with_one_key_have_two_tasks(api: Api) -> None:
    users = [api.user() for _ in range(3)]
    answers = [await api.create_task(user, key="k1", title=f"Task {n}") for n, user in enumerate(users)]
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["task"]["id"] for answer in answers}) == 3
    for user, answer in zip(users, answers, strict=True):
        assert (await api.list_tasks(user)).json()["tasks"] == [answer.json()["task"]]


async def test_after_a_delete_the_key_makes_a_new_task(api: Api) -> None:
    user = api.user()
    task = (await api.create_task(user, key="k1")).json()["task"]
    await api.delete_task(user, task["id"])
    again = (await api.create_task(user, key="k1", title="Buy oats")).json()["task"]
    assert (again["id"], again["title"]) == (task["id"], "Buy oats")
    assert again["created_at"] > task["created_at"]


async def test_a_validation_error_does_not_use_the_key(api: Api) -> None:
    user = api.user()
    assert_error(await api.create_task(user, key="k1", title=" "), 400, "Title is required")
    assert (await api.create_task(user, key="k1")).status_code == 201


async def test_a_key_with_and_without_quotes_is_the_same(api: Api) -> None:
    user = api.user()
    same = [
        (b"k1", b'"k1"', b" k1\t"),
        (b'a"\\b', b'"a\\"\\\\b"'),
        (b'"k', b'"k'),
        (b"x" * 255, b'"%b"' % (b"x" * 255)),
    ]
    same += [(b'" "', b'" "'), (b" ~ !", b'"~ !"')]
    for keys in same:
        answers = {await post(api, user, key) for key in keys}
        assert len(answers) == 1, keys
        assert next(iter(answers))[0] == 201
    assert len((await api.list_tasks(user)).json()["tasks"]) == len(same)


async def test_an_invalid_key_is_400(api: Api) -> None:
    user = api.user()
    bad = (b"", b" ", b'""', b"x" * 256, b'"%b"' % (b"x" * 256), b"a\tb", "ü".encode(), b"\x7f", b"a\x80")
    for key in bad:
        assert await post(api, user, key) == (400, f'{{"error": "{BAD_KEY}"}}'), key
    for keys in ((b"a", b"a"), (b"a", b"b"), (b"a", b"")):
        assert await post(api, user, *keys) == (400, f'{{"error": "{BAD_KEY}"}}'), keys
    assert (await api.list_tasks(user)).json() == {"tasks": []}


async def test_a_create_by_a_deleted_user_is_401(api: Api, owner: psycopg.Connection) -> None:
    user = api.user()
    assert (await api.create_task(user, key="k1")).status_code == 201
    owner.execute("delete from users")
    assert_error(await api.create_task(user, key="k1"), 401, "Unauthorized")


async def test_concurrent_creates_with_one_key_make_one_task(api: Api) -> None:
    user = api.user()
    answers = await asyncio.gather(*(api.create_task(user, key="k1", title=f"Task {n % 2}") for n in range(40)))
    made = [answer for answer in answers if answer.status_code == 201]
    assert len(made) == 20
    assert len({(answer.content, answer.headers["etag"]) for answer in made}) == 1
    for answer in set(answers) - set(made):
        assert_error(answer, 422, OTHER_TASK)
    assert len((await api.list_tasks(user)).json()["tasks"]) == 1


async def test_the_task_id_depends_on_secret_user_and_key(api: Api, database_url: str) -> None:
    user = api.user()
    task = (await api.create_task(user, key="k1")).json()["task"]
    assert uuid.UUID(task["id"]).version == 4
    secret = idempotency.derive_secret(SECRET)
    assert task["id"] == idempotency.task_id(secret, user.id.upper(), b"k1")
    others = {
        idempotency.task_id(secret, str(uuid.uuid4()), b"k1"),
        idempotency.task_id(secret, user.id, b"k2"),
        idempotency.task_id(idempotency.derive_secret(SECRET + "x"), user.id, b"k1"),
    }
    assert len(others | {task["id"]}) == 4
    async with serve(settings(database_url)) as another_instance:
        assert (await another_instance.create_task(user, key="k1")).json() == {"task": task}


def test_different_tasks_have_different_fingerprints() -> None:
    secret = idempotency.derive_secret(SECRET)
    tasks = [
        ("a", None),
        ("a", ""),
        ("a", "b"),
        ("ab", None),
        ("a, b", None),
        ('a", "b', None),
        ("a", "null"),
        ("A", None),
    ]
    assert len({idempotency.fingerprint(secret, *task) for task in tasks}) == len(tasks)
    assert idempotency.fingerprint(idempotency.derive_secret(SECRET + "x"), "a", None) not in {
        idempotency.fingerprint(secret, *task) for task in tasks
    }
