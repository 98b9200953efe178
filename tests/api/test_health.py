"""GET /health and /livez, and all other calls while the database is away or hangs."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import pytest

from service.postgres.health_probe import PROBE_SECONDS
from tests.support.answers import assert_error
from tests.support.api import ORIGIN, Api, User, serve, settings, token

pytestmark = pytest.mark.anyio

USER = User("7d3a3a52-94cf-4e9c-8f6c-6f6c1f1f2a3b", "", token(user_id="7d3a3a52-94cf-4e9c-8f6c-6f6c1f1f2a3b"))
TASK = "0b0f3c9e-6f0e-4f3e-8f7e-2f1f7d0c9a11"


@pytest.fixture
async def api_with_silent_database() -> AsyncIterator[Api]:
    """The service with a database that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://todo:todo@127.0.0.1:{silent.getsockname()[1]}/todo?sslmode=disable"
        async with serve(settings(url)) as api:
            yield api


async def test_health_is_200_while_the_database_answers(api: Api) -> None:
    response = await api.get("/health")
    assert (response.status_code, response.json()) == (200, {"status": "healthy"})
    assert (await api.get("/health", headers={"Authorization": "Bearer stale"})).status_code == 200


async def test_livez_is_200(api: Api) -> None:
    response = await api.get("/livez")
    assert (response.status_code, response.json()) == (200, {"status": "alive"})


async def test_health_is_503_while_the_database_is_away(api_without_database: Api) -> None:
    started = time.monotonic()
    response = await api_without_database.get("/health")
    assert time.monotonic() - started < 4
    assert (response.status_code, response.json()) == (503, {"status": "unhealthy"})
    head = await api_without_database.request("HEAD", "/health")
    assert (head.status_code, head.content) == (503, b"")


async def test_while_the_database_hangs_health_is_503_within_two_seconds_and_requests_are_503_later(
    api_with_silent_database: Api,
) -> None:
    assert PROBE_SECONDS < 2
    started = time.monotonic()
    waiting = asyncio.create_task(api_with_silent_database.list_tasks(USER))
    answers = await asyncio.gather(*(api_with_silent_database.get("/health") for _ in range(30)))
    # A request waits five seconds. A busy machine adds to both.
    assert not waiting.done()
    assert {(answer.status_code, answer.text) for answer in answers} == {(503, '{"status":"unhealthy"}')}
    assert_error(await waiting, 503, "Service temporarily unavailable")
    assert time.monotonic() - started < 30


async def test_livez_and_the_documents_do_not_touch_the_database(api_with_silent_database: Api) -> None:
    started = time.monotonic()
    for path in ("/livez", "/docs", "/openapi.json"):
        assert (await api_with_silent_database.get(path)).status_code == 200
    assert time.monotonic() - started < 4  # a request waits five seconds for the database


async def test_every_call_that_needs_the_database_is_503_while_it_is_away(api_without_database: Api) -> None:
    for response in (
        await api_without_database.list_tasks(USER),
        await api_without_database.create_task(USER),
        await api_without_database.get_task(USER, TASK),
        await api_without_database.update_task(USER, TASK, title="x"),
        await api_without_database.update_task(USER, TASK),
        await api_without_database.delete_task(USER, TASK),
        await api_without_database.sign_up("ada@example.com"),
        await api_without_database.log_in("ada@example.com"),
    ):
        assert_error(response, 503, "Service temporarily unavailable")
        assert int(response.headers["retry-after"]) >= 1
        assert response.headers["access-control-allow-origin"] == ORIGIN


async def test_calls_that_need_no_database_are_answered_while_it_is_away(api_without_database: Api) -> None:
    assert_error(await api_without_database.get("/api/tasks"), 401, "Unauthorized")
    assert_error(await api_without_database.sign_up("no address"), 400, "Invalid email format")
    assert_error(await api_without_database.get("/nowhere"), 404, "Not found")
    assert_error(await api_without_database.request("PATCH", "/api/tasks"), 405, "Method not allowed")


async def test_a_token_is_503_while_the_database_is_away(api_without_database: Api) -> None:
    # The database knows whether the token was ended, so the body is not validated before that is known.
    assert_error(await api_without_database.create_task(USER, title=" "), 503, "Service temporarily unavailable")
