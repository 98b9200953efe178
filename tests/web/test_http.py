"""The service over real HTTP: bodies, connections, request targets."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator

import pytest

from tests.support.answers import assert_error, assert_sentence
from tests.support.api import ORIGIN, Api, User
from tests.support.raw_http_async import exchange, read
from tests.support.service_process import ServiceProcess

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024


async def test_the_life_of_a_task_over_real_http(http_api: Api) -> None:
    assert (await http_api.sign_up("ada@example.com")).status_code == 201
    account = (await http_api.log_in("ada@example.com")).json()
    user = User(account["user"]["id"], account["user"]["email"], account["token"])
    task = await http_api.task(user, title="😀", description="")
    assert (await http_api.get_task(user, task["id"])).json() == {"task": task}
    assert (await http_api.update_task(user, task["id"], completed=True)).json()["task"]["completed"] is True
    assert (await http_api.request("HEAD", "/api/tasks", user)).content == b""
    assert (await http_api.delete_task(user, task["id"])).content == b""
    assert (await http_api.list_tasks(user)).json() == {"tasks": []}


async def test_the_server_header_names_no_version(http_api: Api) -> None:
    for path in ("/livez", "/api/tasks", "/nowhere"):
        server = (await http_api.get(path)).headers.get("server", "")
        assert not re.search(r"[\d/]", server)
        assert "x-powered-by" not in (await http_api.get(path)).headers


async def test_errors_are_json_over_real_http(http_api: Api) -> None:
    user = http_api.user()
    assert_error(await http_api.get("/nowhere"), 404, "Not found")
    assert_error(await http_api.get("/api/tasks"), 401, "Unauthorized")
    assert_error(await http_api.request("PATCH", "/api/tasks", user), 405, "Method not allowed")
    assert_error(await http_api.request("POST", "/api/tasks", user, content=b"\xff"), 400)
    assert_error(
        await http_api.request("OPTIONS", "/api/tasks", headers={"Access-Control-Request-Method": "PATCH"}), 400
    )
    assert_error(await http_api.request("GET", "/api/tasks/%2e%2e%2f%00", user), 404)
    assert_error(await http_api.get("/%F0%28"), 404, "Not found")


async def in_parts(size: int) -> AsyncIterator[bytes]:
    yield b'{"title": "x", "more": "'
    for _ in range(0, size - 26, MIB // 16):
        yield b"x" * min(MIB // 16, size - 26)
    yield b'"}'


async def test_a_body_over_one_mib_is_413_with_and_without_content_length(http_api: Api) -> None:
    user = http_api.user()
    for size in (MIB + 1, 3 * MIB):
        assert_error(await http_api.request("POST", "/api/tasks", user, content=b"x" * size), 413)
        assert_error(await http_api.request("POST", "/api/tasks", user, content=in_parts(size + MIB)), 413)
    assert (await http_api.create_task(user)).status_code == 201, "the client can send the next request"


async def test_head_sends_no_body_and_keeps_the_connection_open(service: ServiceProcess) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    for method in ("HEAD", "GET", "HEAD", "GET"):
        writer.write(f"{method} /livez HTTP/1.1\r\nHost: api\r\n\r\n".encode())
        answer = await read(reader, method)
        assert (answer.status, answer.headers["content-length"]) == (200, str(len(b'{"status":"alive"}')))
    writer.close()


async def test_a_websocket_upgrade_is_treated_as_an_ordinary_request(service: ServiceProcess) -> None:
    upgrade = (
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n\r\n"
    )
    for path, status in ((b"/nowhere", 404), (b"/api/tasks", 401), (b"/livez", 200)):
        answer = await exchange(service, b"GET %s HTTP/1.1\r\nHost: api\r\n%s" % (path, upgrade))
        assert answer.status == status
        assert answer.headers["content-type"] == "application/json"


async def test_unusual_request_targets_are_answered_in_json(service: ServiceProcess) -> None:
    for line in (
        b"OPTIONS *",
        b"GET http://api/nowhere",
        b"GET /?",
        b"GET /nowhere#x",
        b"BREW /",
        b"GET /%",
        b"DELETE /%zz",
    ):
        answer = await exchange(service, line + b" HTTP/1.1\r\nHost: api\r\nOrigin: %s\r\n\r\n" % ORIGIN.encode())
        assert answer.status in (400, 404, 405), line
        assert answer.headers["content-type"] == "application/json"
        # A request that does not parse as HTTP has no Origin header, so the answer has no CORS headers.
        assert answer.status == 400 or answer.headers["access-control-allow-origin"] == ORIGIN


async def test_a_body_that_does_not_arrive_in_time_is_408_or_a_closed_connection(service: ServiceProcess) -> None:
    async def slow(head: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(b"POST /api/auth/login HTTP/1.1\r\nHost: api\r\n" + head)
        try:
            sent = await asyncio.wait_for(reader.read(), 40)
        finally:
            writer.close()
        if sent:
            assert sent.startswith(b"HTTP/1.1 408 "), sent
            assert_sentence(json.loads(sent.rpartition(b"\r\n\r\n")[2]))

    started = time.monotonic()
    await asyncio.gather(
        slow(b'Content-Length: 100\r\n\r\n{"email": "'),
        slow(b"Content-Length: 1\r\n\r\n"),
        slow(b'Transfer-Encoding: chunked\r\n\r\n3\r\n{"e\r\n'),
    )
    assert time.monotonic() - started < 35


async def test_a_client_that_disconnects_causes_no_error(service: ServiceProcess, http_api: Api) -> None:
    for _ in range(3):
        _, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(b'POST /api/auth/login HTTP/1.1\r\nHost: api\r\nContent-Length: 100\r\n\r\n{"email": "')
        await writer.drain()
        writer.close()
    await asyncio.sleep(0.2)
    assert (await http_api.get("/health")).status_code == 200
    assert "Traceback" not in service.log.read_text()
