"""Request bodies: a JSON object, and 400 for everything else."""

import gc
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message

from service.body_memory import BodyMemory
from service.errors import ApiError
from service.tasks import CreateTask
from service.web import body
from tests.support.answers import assert_error
from tests.support.api import Api, User, calls_with_a_body

pytestmark = pytest.mark.anyio

NOT_AN_OBJECT = (b"[]", b'[{"title": "x"}]', b'"x"', b"1", b"-1.5", b"true", b"null")
NOT_JSON = (
    b"", b" ", b"{", b"}",
    b"{]", b'{"title": "x"', b'{"title": "x"} {}', b'{"title": "x"}x', b"{'title': 'x'}", b"{title: 1}",
    b'{"title": "x",}', b'{"title": "x" /* no */}', b'{"title": "x\n"}', b'{"title": 01}', b'{"title": .5}',
    b'{"title": +1}',
    b'{"title": "\\x"}', b'{"title": "\\u00g0"}', b'{"title": undefined}', b'{"title": True}', b"title=x",
    b"<title>x</title>",
    b'\xef\xbb\xbf{"title": "x"}', '{"title": "x"}'.encode("utf-16"), '{"title": "x"}'.encode("utf-32-le"), b"\x00",
    b'{"a": 1}\x00',
    b'{"title": "\xff"}', b'{"title": "\xc3"}', b'{"\xc0\xaf": 1, "title": "x"}', b'{"title": "x", "more": "\xf5\x80"}',
    b'{"title": "\xe2\x82"}', b"[" * 10_000, b'{"a":' * 3_000, b'{"title": "x", "more": ' + b"[" * 10_000 + b"}",
)  # fmt: skip
NO_NUMBERS = tuple(
    template % number
    for number in (b"NaN", b"Infinity", b"-Infinity", b"nan")
    for template in (
        b'{"title": %s}', b'{"title": "x", "more": %s}', b'{"title": "x", "more": [[%s]]}',
        b'{"title": "x", "completed": %s}',
        b'{"title": "x", "more": {"a": [%s]}}', b"%s",
    )
)  # fmt: skip


async def everywhere(api: Api, user: User, task_id: str, sent: bytes) -> None:
    """Sends this body to every call that takes one, and expects 400."""
    for method, path in calls_with_a_body(task_id):
        response = await api.request(method, path, user, content=sent)
        assert response.status_code == 400, (method, path, sent[:50])
        assert_error(response, 400)


async def test_a_body_that_is_not_json_is_400(api: Api) -> None:
    user = api.user()
    task = await api.task(user)
    for sent in NOT_JSON:
        await everywhere(api, user, task["id"], sent)
    assert (await api.list_tasks(user)).json() == {"tasks": [task]}


async def test_nan_and_infinity_are_400_even_in_ignored_fields(api: Api) -> None:
    user = api.user()
    task = await api.task(user)
    for sent in NO_NUMBERS:
        await everywhere(api, user, task["id"], sent)
    assert (await api.list_tasks(user)).json() == {"tasks": [task]}


async def test_a_json_body_that_is_not_an_object_is_400(api: Api) -> None:
    user = api.user()
    task = await api.task(user)
    for sent in NOT_AN_OBJECT:
        await everywhere(api, user, task["id"], sent)


async def test_unusual_but_valid_json_is_accepted(api: Api) -> None:
    user = api.user()
    for sent in (
        b' \n\t{"title"\r:"x"} ', b'{"title": "\\u0078"}', b'{"title": "x", "more": -0}',
        b'{"title": "x", "": 1, "more": 1E5}',
        b'{"title": "x", "more": 123456789012345678901234567890}', b'{"title": 1, "title": "x"}', b'{"title": "\\/x"}',
        b'{"title": "x", "more": {"a": {"b": [null, true, {}]}}}', b'{"title": "x", "__proto__": 1, "__class__": {}}',
    ):  # fmt: skip
        response = await api.request("POST", "/api/tasks", user, content=sent)
        assert response.status_code == 201, (sent, response.text)
    for sent in (b"9" * 5000, b"1e400", b"1" + b"0" * 100_000, b"[" * 150 + b"]" * 150):
        response = await api.request("POST", "/api/tasks", user, content=b'{"title": "x", "more": %s}' % sent)
        assert response.status_code in (201, 400), sent[:10]


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "x/y; charset=z", None]
)
async def test_the_content_type_is_not_checked(api: Api, kind: str | None) -> None:
    user = api.user()
    if kind is None:
        del api.client.headers["content-type"]
    headers = {} if kind is None else {"Content-Type": kind}
    response = await api.request("POST", "/api/tasks", user, headers=headers, content=b'{"title": "x"}')
    assert response.status_code == 201
    assert response.headers["content-type"] == "application/json"


async def test_calls_that_need_no_body_do_not_read_one(api: Api) -> None:
    user = api.user()
    task = await api.task(user)
    for sent in (b"{", b'{"user_id": 1}', b"\xff"):
        assert (await api.request("GET", "/api/tasks", user, content=sent)).json() == {"tasks": [task]}
        assert (await api.request("GET", f"/api/tasks/{task['id']}", user, content=sent)).json() == {"task": task}
    assert (await api.request("DELETE", f"/api/tasks/{task['id']}", user, content=b"{")).status_code == 204


async def test_no_garbage_collection_runs_while_a_body_is_parsed() -> None:
    """1 MiB of nested arrays makes 350,000 lists: garbage collection took two thirds of the time."""
    content = b'{"title": "x", "more": [' + b",".join([b"[]"] * 349_000) + b"]}"
    body_messages = [{"type": "http.request", "body": content, "more_body": False}]

    async def receive() -> Message:
        return body_messages[0]

    started: list[object] = []
    gc.callbacks.append(lambda phase, _: started.append(phase))
    try:
        request: Request[Any] = Request(
            {"type": "http", "headers": [], "deadline": 0.0, "state": {"body_memory": BodyMemory()}}, receive
        )
        assert (await body.read(request, CreateTask)).title == "x"
        for bad in (content[:-1], b"[" + content + b"]", content.replace(b'"x"', b"1")):
            body_messages[0]["body"] = bad
            with pytest.raises(ApiError):
                await body.read(request, CreateTask)
    finally:
        gc.callbacks.pop()
    assert len(started) < 20, "a few collections after the parsing are fine, hundreds are not"
    assert gc.isenabled()
