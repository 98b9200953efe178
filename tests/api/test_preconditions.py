"""ETag, If-Match and If-None-Match: two clients do not overwrite each other's changes."""

import asyncio
import time
import uuid

import httpx
import psycopg
import pytest

from tests.support.answers import assert_error, check
from tests.support.api import Api, User

pytestmark = pytest.mark.anyio

CHANGED = "The task was changed in the meantime"
NO_LIST = "If-Match must be * or a list of entity tags"
OLD = '"2001-02-03T04:05:06.000007Z"'
MALFORMED = (
    "", " ", ",", "x", '"', '"a', 'a"', "'a'", '"a" "b"', '"a""b"', '*, "a"', '"a", *', "* *", 'w/"a"', 'W/ "a"', "W/a",
    '"a";q=1', '"a", b', '"a b"', "2026-01-31T09:30:00.000000Z", '"a"\x7f',
)  # fmt: skip


async def conditional(
    api: Api, user: User, method: str, task_id: str, *values: bytes, header: bytes = b"if-match"
) -> httpx.Response:
    """A request with these headers, as bytes."""
    headers = [(b"authorization", user.headers["Authorization"].encode()), *((header, value) for value in values)]
    content = b'{"title": "Buy oats"}' if method == "PUT" else b""
    response = await api.client.request(method, f"/api/tasks/{task_id}", headers=headers, content=content)
    check(response)
    return response


async def test_every_answer_with_one_task_has_its_version_as_etag(api: Api) -> None:
    user = api.user()
    created = await api.create_task(user)
    task = created.json()["task"]
    tags = [created.headers["etag"]]
    for method in ("GET", "HEAD"):
        assert (await api.request(method, f"/api/tasks/{task['id']}", user)).headers["etag"] == tags[0]
    for fields in ({"title": "Buy oats"}, {"completed": True}, {"description": 'a"}}'}):
        tags.append((await api.update_task(user, task["id"], **fields)).headers["etag"])
    assert sorted(set(tags)) == tags
    assert (await api.update_task(user, task["id"])).headers["etag"] == tags[-1]
    (listed,) = (await api.list_tasks(user)).json()["tasks"]
    assert tags[-1] == f'"{listed["updated_at"]}"', "the task in the list has the same version"


async def test_only_the_current_version_may_be_changed(api: Api) -> None:
    user = api.user()
    created = await api.create_task(user)
    task = created.json()["task"]
    changed = await api.update_task(
        user, task["id"], if_match=created.headers["etag"], title=" Buy oats", completed=True
    )
    assert changed.status_code == 200
    expected = {**task, "title": "Buy oats", "completed": True, "updated_at": changed.json()["task"]["updated_at"]}
    assert changed.json() == {"task": expected}
    assert expected["updated_at"] > task["updated_at"]
    for if_match in (created.headers["etag"], OLD, f"W/{changed.headers['etag']}", '""', '"~!"', f'{OLD},, "x",'):
        for answer in (
            await api.update_task(user, task["id"], if_match=if_match, title="Buy rye"),
            await api.update_task(user, task["id"], if_match=if_match),
            await api.delete_task(user, task["id"], if_match=if_match),
        ):
            assert_error(answer, 412, CHANGED)
            assert answer.headers["etag"] == changed.headers["etag"]
    assert (await api.get_task(user, task["id"])).content == changed.content
    assert (await api.delete_task(user, task["id"], if_match=changed.headers["etag"])).status_code == 204
    assert (await api.list_tasks(user)).json() == {"tasks": []}


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_one_matching_tag_of_several_is_enough_and_a_star_matches_any(api: Api, method: str) -> None:
    user = api.user()
    for form in ('{tag}, "x"', "{old},{tag}", '"x"\t, W/"y",,{tag} ,', ", {tag}", "*", " * "):
        created = await api.create_task(user)
        value = form.format(tag=created.headers["etag"], old=OLD).encode()
        answer = await conditional(api, user, method, created.json()["task"]["id"], value)
        assert answer.status_code == (200 if method == "PUT" else 204), form
    created = await api.create_task(user)
    values = (OLD.encode(), created.headers["etag"].encode())
    assert (await conditional(api, user, method, created.json()["task"]["id"], *values)).is_success


async def test_a_put_without_fields_obeys_the_condition(api: Api) -> None:
    user = api.user()
    created = await api.create_task(user)
    task_id = created.json()["task"]["id"]
    for if_match in (created.headers["etag"], "*"):
        same = await api.update_task(user, task_id, if_match=if_match, unknown=1)
        assert (same.status_code, same.content) == (200, created.content)
    assert_error(await api.update_task(user, task_id, if_match=OLD, unknown=1), 412, CHANGED)


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_an_invalid_if_match_is_400(api: Api, method: str) -> None:
    user = api.user()
    task = await api.task(user)
    for value in MALFORMED:
        assert_error(await conditional(api, user, method, task["id"], value.encode()), 400, NO_LIST)
    assert_error(await conditional(api, user, method, task["id"], b"*", b"*"), 400, NO_LIST)
    assert (await api.get_task(user, task["id"])).json() == {"task": task}


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_the_404_is_the_same_with_and_without_a_condition(api: Api, method: str) -> None:
    ada, eve = api.user(), api.user()
    created = await api.create_task(ada)
    task = created.json()["task"]
    plain = await conditional(api, eve, method, str(uuid.uuid4()))
    for value in (created.headers["etag"], OLD, "*", *MALFORMED):
        for task_id in (task["id"], str(uuid.uuid4()), "1"):
            answer = await conditional(api, eve, method, task_id, value.encode())
            assert_error(answer, 404, "Task not found")
            assert answer.content == plain.content
            assert answer.headers.keys() == plain.headers.keys()
    assert (await api.get_task(ada, task["id"])).json() == {"task": task}


async def test_a_bad_body_is_400_whatever_the_condition(api: Api) -> None:
    user = api.user()
    task = await api.task(user)
    assert_error(await api.update_task(user, task["id"], if_match=OLD, title=""), 400, "Title cannot be empty")


async def test_of_concurrent_changes_to_one_version_one_succeeds(api: Api, owner: psycopg.Connection) -> None:
    user = api.user()
    created = await api.create_task(user)
    task_id, tag = created.json()["task"]["id"], created.headers["etag"]
    for _ in range(5):
        answers = await asyncio.gather(
            *(api.update_task(user, task_id, if_match=tag, title=f"Task {n % 3}") for n in range(30))
        )
        (made,) = [answer for answer in answers if answer.status_code == 200]
        for answer in set(answers) - {made}:
            assert_error(answer, 412, CHANGED)
            assert answer.headers["etag"] == made.headers["etag"], "the 412 has the current version"
        assert (await api.get_task(user, task_id)).content == made.content
        tag = made.headers["etag"]
    answers = await asyncio.gather(*(api.delete_task(user, task_id, if_match=tag) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [204] + [404] * 9


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_matching_if_none_match_is_304(api: Api, method: str) -> None:
    user = api.user()
    created = await api.create_task(user)
    task_id, tag = created.json()["task"]["id"], created.headers["etag"]
    for value in (tag, f"W/{tag}", f'{OLD}, "x" ,{tag}', "*"):
        answer = await conditional(api, user, method, task_id, value.encode(), header=b"if-none-match")
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag), value
        assert not {"content-type", "content-length"} & set(answer.headers)
    for value in (OLD, f'"{tag}"', tag[1:-1], f"x{tag}", f"{tag};", "", ","):
        answer = await conditional(api, user, method, task_id, value.encode(), header=b"if-none-match")
        assert (answer.status_code, answer.headers["etag"]) == (200, tag), value
    absent = await conditional(api, user, method, str(uuid.uuid4()), b"*", header=b"if-none-match")
    assert_error(absent, 404, "Task not found")


async def test_if_none_match_is_ignored_on_put(api: Api) -> None:
    user = api.user()
    created = await api.create_task(user)
    task_id, tag = created.json()["task"]["id"], created.headers["etag"]
    headers = {"If-None-Match": tag}
    same = await api.request("PUT", f"/api/tasks/{task_id}", user, headers=headers, json={})
    assert (same.status_code, same.content) == (200, created.content)


async def test_tags_that_are_not_a_valid_time_match_nothing(api: Api) -> None:
    user = api.user()
    task = await api.task(user)
    day = task["updated_at"][:10]
    times = (
        f"{day}T24:00:00.000000Z",
        f"{day}T23:59:60.000000Z",
        "0000-01-01T00:00:00.000000Z",
        "9999-99-99T00:00:00.000000Z",
    )
    for time_ in (
        *times,
        "9999-12-31T23:59:59.999999Z",
        "0001-01-01T00:00:00.000000Z",
        task["updated_at"].replace("Z", "+00:00"),
    ):
        assert_error(await api.update_task(user, task["id"], if_match=f'"{time_}"', title="x"), 412, CHANGED)


async def test_a_long_malformed_if_match_is_refused_quickly(api: Api) -> None:
    user = api.user()
    task = await api.task(user)
    began = time.monotonic()
    for value in (
        b'"a"' + b" " * 200_000 + b"x",
        b"," * 200_000,
        b'"a" ' * 50_000,
        b'W/"' * 60_000,
        b'"a",' * 50_000 + b"x",
    ):
        assert_error(await conditional(api, user, "DELETE", task["id"], value), 400, NO_LIST)
    assert time.monotonic() - began < 5, "a pattern with backtracking would take minutes"
