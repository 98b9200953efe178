"""Limits on the size of a body, on failed log-ins and on log-ins at once."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.answers import assert_error
from tests.support.api import Api, User, serve, settings

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024


def padded(size: int) -> bytes:
    """A valid body of this many bytes."""
    empty = b'{"title": "x", "more": ""}'
    return empty[:-2] + b"x" * (size - len(empty)) + empty[-2:]


async def in_parts(sent: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(sent), 65536):
        yield sent[start : start + 65536]


async def test_one_mib_is_accepted_and_one_byte_more_is_413(api: Api) -> None:
    user = api.user()
    task_id = (await api.task(user))["id"]
    for method, path in (("POST", "/api/tasks"), ("PUT", f"/api/tasks/{task_id}")):
        await _assert_limit(api, method, path, MIB, "The request body must not exceed 1 MiB", user)


async def test_sign_up_and_log_in_accept_16_kib_and_one_byte_more_is_413(api: Api) -> None:
    for path in ("/api/auth/signup", "/api/auth/login"):
        await _assert_limit(api, "POST", path, 16 * 1024, "The request body must not exceed 16 KiB")


async def _assert_limit(
    api: Api, method: str, path: str, largest: int, sentence: str, user: User | None = None
) -> None:
    for too_much, status in ((0, None), (1, 413)):
        for content in (padded(largest + too_much), in_parts(padded(largest + too_much))):
            response = await api.request(method, path, user, content=content)
            assert (response.status_code == 413) == (status == 413), response.text
            if status:
                assert_error(response, status, sentence)


async def test_a_huge_content_length_is_413(api: Api) -> None:
    headers = {"Content-Length": "9" * 30}
    assert_error(await api.request("POST", "/api/tasks", api.user(), headers=headers, content=b"{}"), 413)


async def test_too_many_failed_log_ins_are_429(database_url: str) -> None:
    async with serve(settings(database_url, login_failure_limit=2)) as api:
        assert (await api.sign_up("ada@example.com")).status_code == 201
        for _ in range(2):
            assert_error(await api.log_in("ada@example.com", "a wrong password"), 401, "Invalid email or password")
        refused = await api.log_in("ada@example.com", "a wrong password")
        assert_error(refused, 429, "Too many attempts, try again in 15 minutes")
        assert_error(await api.log_in(" ADA@example.com"), 429)
        assert (await api.sign_up("eve@example.com")).status_code == 201
        assert (await api.log_in("eve@example.com")).status_code == 200


async def test_a_login_failure_limit_of_0_turns_the_limit_off(database_url: str) -> None:
    async with serve(settings(database_url, login_failure_limit=0)) as api:
        for _ in range(4):
            assert_error(await api.log_in("ada@example.com"), 401, "Invalid email or password")


async def test_log_ins_beyond_the_queue_are_503_and_tasks_are_still_answered(database_url: str, api: Api) -> None:
    user = api.user()
    async with serve(settings(database_url, login_failure_limit=0)) as flooded:
        flood = asyncio.gather(*(flooded.log_in("ada@example.com") for _ in range(60)))
        await asyncio.sleep(0.2)
        assert (await flooded.list_tasks(user)).status_code == 200
        assert not flood.done()
        answers = await flood
    assert {answer.status_code for answer in answers} == {401, 503}
    for answer in answers:
        if answer.status_code == 503:
            assert_error(answer, 503, "Service temporarily unavailable")
