"""Errors that nginx answers itself: in the contract's form, and readable by the frontend's origin only."""

import contextlib
import json
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from service.web.middleware import EXPOSED_HEADERS, METHODS, REQUEST_HEADERS
from tests.support.answers import assert_sentence
from tests.support.api import ORIGIN
from tests.support.nginx import Nginx, nginx

FRONTEND_HEADERS = b"Host: todo.example.com\r\nOrigin: " + ORIGIN.encode()
SLOW = 10
"""Seconds that nginx.conf waits for a client's next bytes."""


@pytest.fixture(scope="module")
def proxy() -> Iterator[Nginx]:
    """nginx with two instances that are down: their port is bound, but no process listens."""
    with socket.socket() as first, socket.socket() as second:
        for taken in (first, second):
            taken.bind(("127.0.0.1", 0))
        with nginx(first.getsockname()[1], second.getsockname()[1]) as proxy:
            yield proxy


def said(proxy: Nginx, sent: bytes, *, tls: bool = True) -> httpx.Response | None:
    """nginx's answer to these bytes; None if it closes the connection without one."""
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", proxy.port), timeout=20))
        if tls:
            connection = stack.enter_context(proxy.tls.wrap_socket(connection, server_hostname="127.0.0.1"))
        file = stack.enter_context(connection.makefile("rb"))
        connection.sendall(sent)
        if not (line := file.readline()):
            return None
        headers = [header.decode().strip().split(": ", 1) for header in iter(file.readline, b"\r\n")]
        body = file.read(int(dict(headers)["Content-Length"]))
        return httpx.Response(int(line.split()[1]), headers=headers, content=body)  # type: ignore[arg-type]


def assert_own_error(response: httpx.Response | None, status: int, *, readable: bool) -> None:
    assert response is not None and response.status_code == status
    assert response.headers["content-type"] == "application/json"
    assert_sentence(json.loads(response.content or b'{"error": "It was a HEAD."}'))
    assert re.fullmatch("[0-9a-f]{32}", response.headers["x-request-id"])
    assert response.headers["vary"] == "Origin"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers.get("access-control-allow-origin") == (ORIGIN if readable else None)
    exposed = EXPOSED_HEADERS.decode() if readable else None
    assert response.headers.get("access-control-expose-headers") == exposed
    assert not re.search(r"\d", response.headers["server"])


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "TRACE"])
def test_while_no_instance_runs_every_call_is_503(proxy: Nginx, method: str) -> None:
    with proxy.client() as page:
        response = page.request(method, "/api/tasks")
    assert_own_error(response, 503, readable=True)
    assert response.headers["retry-after"] == "2"
    logged = proxy.wait_for_request(response.headers["x-request-id"])
    assert (logged["method"], logged["status"]) == (method, 503)


def test_while_no_instance_runs_preflights_succeed(proxy: Nginx) -> None:
    """If the preflight fails, the page cannot read the error of the call."""
    wanted = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization,content-type"}
    with proxy.client(**wanted) as page:
        answers = [page.options("/api/tasks"), page.options("/api/auth/login")]
    for answer in answers:
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert answer.headers["access-control-allow-methods"] == METHODS
        assert answer.headers["access-control-allow-headers"] == REQUEST_HEADERS


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost:3000.evil.example", "null", ""])
def test_other_origins_may_not_read_nginxs_errors(proxy: Nginx, origin: str) -> None:
    with proxy.client(Origin=origin) as page:
        assert_own_error(page.get("/api/tasks"), 503, readable=False)
        assert_own_error(page.options("/api/tasks"), 503, readable=False)


@pytest.mark.parametrize(
    ("sent", "status", "readable"),
    [  # the first cases end before nginx has read the Origin header
        (b"GARBAGE\r\n\r\n", 400, False),
        (b"\x00\x01\x02\r\n\r\n", 400, False),
        (b"GET / HTTP/3.0\r\n" + FRONTEND_HEADERS + b"\r\n\r\n", 505, False),
        (b"CONNECT todo.example.com:443 HTTP/1.1\r\n" + FRONTEND_HEADERS + b"\r\n\r\n", 400, False),
        (b"GET /" + b"x" * 17_000 + b" HTTP/1.1\r\n" + FRONTEND_HEADERS + b"\r\n\r\n", 414, False),
        (b"GET / HTTP/1.1\r\nOrigin: " + ORIGIN.encode() + b"\r\n\r\n", 400, True),
        (b"GET / HTTP/1.1\r\n" + FRONTEND_HEADERS + b"\r\nHost: other.example.com\r\n\r\n", 400, True),
        (b"GET / HTTP/1.1\r\n" + FRONTEND_HEADERS + b"\r\nCookie: " + b"x" * 17_000 + b"\r\n\r\n", 400, True),
        (b"POST / HTTP/1.1\r\n" + FRONTEND_HEADERS + b"\r\nContent-Length: a\r\n\r\n", 400, True),
        (
            b"POST / HTTP/1.1\r\n" + FRONTEND_HEADERS + b"\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
            True,
        ),
        (b"POST / HTTP/1.1\r\n" + FRONTEND_HEADERS + b"\r\nTransfer-Encoding: gzip\r\n\r\n", 501, True),
        (b"POST / HTTP/1.1\r\n" + FRONTEND_HEADERS + b"\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n", 400, True),
        (b"POST / HTTP/1.1\r\n" + FRONTEND_HEADERS + b"\r\nContent-Length: 1060000\r\n\r\n", 413, True),
    ],
)  # fmt: skip
def test_nginx_refuses_bad_requests_itself(proxy: Nginx, sent: bytes, status: int, readable: bool) -> None:
    assert_own_error(said(proxy, sent), status, readable=readable)


def test_plain_http_on_the_tls_port_gets_an_error_that_says_so(proxy: Nginx) -> None:
    sent = b"GET / HTTP/1.1\r\n" + FRONTEND_HEADERS + b"\r\n\r\n"
    assert_own_error(said(proxy, sent, tls=False), 400, readable=True)


def test_nginx_disconnects_a_slow_client(proxy: Nginx) -> None:
    head = b"POST /api/tasks HTTP/1.1\r\n" + FRONTEND_HEADERS + b"\r\n"
    parts = [b"", head, head + b"Content-Length: 100\r\n\r\n", head + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab"]
    began = time.monotonic()
    with ThreadPoolExecutor(len(parts)) as pool:
        for received in pool.map(lambda part: said(proxy, part), parts):
            assert received is None or received.status_code == 408
    assert SLOW - 1 < time.monotonic() - began < SLOW + 20
