"""The undocumented parts of uvicorn that the service uses: which, a test for each, and the behaviour built on them."""

import ast
import asyncio
import contextlib
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]
import pytest
import uvicorn
import uvicorn.lifespan.on
import uvicorn.server
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http import flow_control, httptools_impl

from service.web import connection_limits
from service.web.server import SEND_BUFFER_BYTES, UNACKNOWLEDGED_SECONDS, bound_socket
from service.web.uvicorn_internals.connection import Connection
from service.web.uvicorn_internals.graceful_server import Server
from tests.support.api import ORIGIN, Api
from tests.support.commands import PROJECT
from tests.support.raw_http import LIVEZ, connect
from tests.support.service_process import start_service
from tests.support.spec_tables import functions_of

FOLDER = PROJECT / "service/web/uvicorn_internals"
LATE = "web/test_raw_connections.py::test_slow_clients_are_cut_off"
PIPELINE = "web/test_raw_connections.py::test_a_hundred_pipelined_requests_are_answered_in_order"
STOP = "process/test_stopping.py::test_a_stopping_service_answers_its_connections_and_accepts_no_others"
CONTINUE = "web/test_raw_bodies.py::test_expect_100_continue_is_answered_before_the_body"
ONE_WRITE = "web/test_uvicorn_internals.py::test_an_answer_is_one_write"
REFUSED = "web/test_raw_heads.py::test_invalid_http_is_400_and_closes_the_connection"
UNREAD = "web/test_uvicorn_internals.py::test_an_unread_answer_stays_registered_until_it_is_read"
RAISED = "web/test_uvicorn_internals.py::test_an_application_that_fails_is_answered_500_in_json"
# Each attribute of uvicorn's classes that the folder uses, and a test that fails if uvicorn renames it.
USES = {
    "STATUS_LINE": ONE_WRITE,
    "_start_asgi_task": ONE_WRITE,
    "_unsupported_upgrade_warning": "web/test_raw_heads.py::test_unusual_requests_get_the_contracts_answers",
    "access_log": ONE_WRITE,
    "access_logger": ONE_WRITE,
    "app": ONE_WRITE,
    "app_state": UNREAD,
    "body": "web/test_raw_bodies.py::test_a_content_length_that_is_too_long_waits_for_the_rest",
    "client": "process/test_proxies.py::test_a_trusted_ipv4_proxy_is_recognised_on_an_ipv6_socket",
    "config": STOP,
    "connections": "process/test_starting.py::test_running_out_of_file_descriptors_is_logged_once",
    "cycle": STOP,
    "default_headers": ONE_WRITE,
    "disconnected": "web/test_http.py::test_a_client_that_disconnects_causes_no_error",
    "drain": UNREAD,
    "expect_100_continue": CONTINUE,
    "flow": PIPELINE,
    "force_exit": "process/test_starting.py::test_two_signals_at_once_stop_a_service_without_a_traceback",
    "headers": "web/test_raw_bodies.py::test_trailers_do_not_become_headers",
    "keep_alive": STOP,
    "lifespan": STOP,
    "logger": ONE_WRITE,
    "loop": LATE,
    "message_event": LATE,
    "more_body": LATE,
    "on_response": PIPELINE,
    "on_response_complete": PIPELINE,
    "on_tick": "process/test_starting.py::test_running_out_of_file_descriptors_is_logged_once",
    "parser": "web/test_raw_connections.py::test_a_request_after_a_refused_upgrade_does_not_hang",
    "pipeline": PIPELINE,
    "response_complete": STOP,
    "response_started": RAISED,
    "scheme": ONE_WRITE,
    "scope": "web/test_http.py::test_head_sends_no_body_and_keeps_the_connection_open",
    "send_400_response": REFUSED,
    "send_500_response": RAISED,
    "server": ONE_WRITE,
    "server_state": STOP,
    "servers": STOP,
    "should_exit": STOP,
    "shutdown": STOP,
    "startup": "process/test_starting.py::test_the_port_is_closed_until_a_worker_is_ready",
    "state": STOP,
    "timeout_keep_alive": "drills/test_deploys.py::test_the_service_keeps_idle_connections_longer_than_nginx",
    "timeout_keep_alive_handler": STOP,
    "timeout_keep_alive_task": STOP,
    "total_requests": PIPELINE,
    "transport": ONE_WRITE,
    "url": ONE_WRITE,
    "write_paused": UNREAD,
}


CLASSES = (
    asyncio.Protocol,
    asyncio.Transport,
    asyncio.AbstractEventLoop,
    asyncio.TimerHandle,
    asyncio.Event,
    set,
    deque,
)
DOCUMENTED = {name for cls in CLASSES for name in dir(cls)}
# Callbacks of httptools, the interface of ASGI, and the names of the classes themselves.
DOCUMENTED |= {"on_message_begin", "on_header", "on_headers_complete", "on_body", "on_message_complete"}
DOCUMENTED |= {
    "receive",
    "send",
    "should_upgrade",
    "should_keep_alive",
    "get_method",
    "get_http_version",
    "parse_url",
    "__init__",
}


def members(tree: ast.AST, *roots: str) -> set[str]:
    """The methods that these classes define, and the attributes that the code reads from uvicorn's objects."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value).split(".")[0] in roots:
            found.add(node.attr)
    return found


def test_every_used_name_of_uvicorn_has_a_test() -> None:
    modules = (httptools_impl, flow_control, uvicorn.server, uvicorn.lifespan.on)
    known = set.union(
        *(members(ast.parse(Path(str(module.__file__)).read_text("utf-8")), "self") for module in modules)
    )
    used = set.union(*(members(ast.parse(path.read_text("utf-8")), "self", "cycle") for path in FOLDER.glob("*.py")))
    assert (used & known) - DOCUMENTED - set(USES) == set(), "add a test to USES for these"
    assert set(USES) - used == {"STATUS_LINE"}
    for name, test in USES.items():
        file, function = test.split("::")
        assert function in functions_of(file), f"{name}: {file} has no {function}"


def test_no_other_module_imports_undocumented_parts() -> None:
    for path in (PROJECT / "service").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and path.parent != FOLDER:
                assert not (node.module or "").startswith("uvicorn"), path
            elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "uvicorn" and path.parent != FOLDER:
                assert node.attr == "Config", path


def test_an_answer_is_one_write(database_url: str) -> None:
    """Counts the write system calls of the process; plain uvicorn makes two for each answer."""
    count = 200
    with start_service(database_url, LOG_LEVEL="warning") as service, connect(service.port) as connection:
        process = psutil.Process(service.pid)
        before = process.io_counters().write_count
        for _ in range(count):
            connection.send(LIVEZ)
            assert connection.answer(path="/livez").status_code == 200
        assert count <= process.io_counters().write_count - before < count * 1.1


@contextlib.asynccontextmanager
async def serving(app: object) -> AsyncIterator[tuple[Server, int]]:
    """The service's server with another application, in this process."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        sock.bind(("127.0.0.1", 0))
        ready = asyncio.Event()
        config = uvicorn.Config(app, http=Connection, lifespan="off", log_config=None)  # type: ignore[arg-type]
        server = Server(config, on_ready=ready.set)
        running = asyncio.create_task(server.serve([sock]))
        await ready.wait()
        try:
            yield server, sock.getsockname()[1]
        finally:
            server.should_exit = True
            await running


async def ask(port: int, method: bytes = b"GET") -> bytes:
    """All bytes that arrive until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(method + b" / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    received = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return received


START: Message = {"type": "http.response.start", "status": 200, "headers": []}
BODY = "http.response.body"


async def raise_after_start(scope: Scope, receive: Receive, send: Send) -> None:
    await send(START)
    raise RuntimeError("after the start")


async def raise_at_once(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("before the start")


async def end_without_a_body(scope: Scope, receive: Receive, send: Send) -> None:
    await send(START)


async def end_without_an_answer(scope: Scope, receive: Receive, send: Send) -> None:
    pass


@pytest.mark.anyio
@pytest.mark.parametrize("app", [raise_after_start, raise_at_once, end_without_a_body, end_without_an_answer])
async def test_an_application_that_fails_is_answered_500_in_json(app: object) -> None:
    async with serving(app) as (_, port):
        head, _, body = (await ask(port)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert b"content-type: application/json" in head
    assert body == b'{"error": "Internal server error"}'


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("messages", "body"),
    [
        ([{"type": BODY}], b""),
        ([{"type": BODY, "body": b"ab"}], b"ab"),
        ([{"type": BODY, "body": b"ab", "more_body": False}], b"ab"),
        ([{"type": BODY, "body": b"x" * 300_000}], b"x" * 300_000),
        ([{"type": BODY, "body": b"a", "more_body": True}, {"type": BODY}], b"1\r\na\r\n0\r\n\r\n"),
        ([{"type": BODY, "more_body": True}, {"type": BODY, "body": b"b"}], b"1\r\nb\r\n0\r\n\r\n"),
    ],
)
async def test_every_message_sequence_that_asgi_allows_is_sent(messages: list[Message], body: bytes) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in ({"type": "http.response.start", "status": 200}, *messages):
            await send(message)

    async with serving(app) as (_, port):
        head, _, received = (await ask(port)).partition(b"\r\n\r\n")
        only_head = await ask(port, b"HEAD")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert received == body
    assert (b"content-length: %d" % len(body) in head) != (b"transfer-encoding: chunked" in head)
    assert only_head.endswith(b"\r\n\r\n"), "HEAD has no body"


@pytest.mark.anyio
async def test_an_unread_answer_stays_registered_until_it_is_read() -> None:
    large = b"x" * 8_000_000

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": BODY, "body": large})

    async with serving(app) as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=65536)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        (connection,) = server.server_state.connections
        unsent = connection.app_state["unsent_answers"]
        assert unsent.waiting_bytes() > 1_000_000
        await reader.readexactly(len(large))
        await asyncio.sleep(0.1)
        assert unsent.waiting_bytes() == 0
        writer.close()


@pytest.mark.anyio
async def test_an_answer_that_makes_no_progress_is_aborted(monkeypatch: pytest.MonkeyPatch) -> None:
    """With half a second in place of the ten: a client that reads slowly keeps its connection, one that reads
    nothing loses it."""
    monkeypatch.setattr(connection_limits, "PROGRESS_SECONDS", 0.5)
    large = b"x" * 8_000_000

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": BODY, "body": large})

    async with serving(app) as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=65536)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        (connection,) = server.server_state.connections
        try:
            for _ in range(60):
                await reader.readexactly(50_000)
                await asyncio.sleep(0.02)
            assert server.server_state.connections == {connection}
            async with asyncio.timeout(10):
                while server.server_state.connections:
                    await asyncio.sleep(0.05)
            assert connection.app_state["unsent_answers"].waiting_bytes() == 0
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await reader.readexactly(len(large))
        finally:
            writer.transport.abort()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has TCP_USER_TIMEOUT")
def test_accepted_sockets_inherit_the_limits_of_the_listening_socket() -> None:
    with bound_socket("127.0.0.1", 0) as listening:
        listening.listen()
        with socket.create_connection(listening.getsockname()), listening.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == UNACKNOWLEDGED_SECONDS * 1000
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * SEND_BUFFER_BYTES


@pytest.mark.anyio
async def test_a_request_cancelled_by_the_shutdown_is_503(api: Api) -> None:
    """uvicorn cancels unanswered requests 15 seconds after SIGTERM; here the test cancels one."""
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.sleep(60)
        raise AssertionError("cancelled before")

    async def send(message: Message) -> None:
        sent.append(message)

    transport = api.client._transport
    assert isinstance(transport, httpx.ASGITransport)
    headers = [(b"origin", ORIGIN.encode())]
    scope: Scope = {"type": "http", "method": "POST", "path": "/api/auth/login", "headers": headers, "client": None}
    request: asyncio.Task[None] = asyncio.create_task(transport.app(scope, receive, send))  # type: ignore[arg-type]
    await asyncio.sleep(0.1)
    request.cancel()
    await request
    start, body = sent
    assert (start["status"], body["body"]) == (503, b'{"error": "Service temporarily unavailable"}')
    names = {name for name, _ in start["headers"]}
    assert {b"retry-after", b"x-request-id", b"access-control-allow-origin"} <= names
