"""Raw HTTP/1.1 over blocking sockets, for requests that no HTTP client would send."""

import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO
from urllib.parse import urlsplit

import httpx

from tests.support.answers import check

HOST = b"Host: todo.example.com"
LIVEZ = b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n\r\n"
TASK = b'{"title": "Buy milk"}'
CHUNKED = b"Transfer-Encoding: chunked"
MIB = 1024 * 1024


def request(line: str, *headers: bytes, body: bytes = b"") -> bytes:
    """A request with these headers; `body` follows unchanged, even if the headers contradict it."""
    return b"\r\n".join((f"{line} HTTP/1.1".encode(), HOST, *headers, b"", body))


def post(token: str, *headers: bytes, body: bytes = TASK) -> bytes:
    return request("POST /api/tasks", b"Authorization: Bearer " + token.encode(), *headers, body=body)


def sized(body: bytes) -> bytes:
    return b"Content-Length: %d" % len(body)


class Connection:
    """One connection to the service."""

    def __init__(self, sock: socket.socket, file: BinaryIO, port: int) -> None:
        self.sock = sock
        self._file = file
        self._port = port

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def answer(self, method: str = "GET", path: str = "/") -> httpx.Response:
        """Reads the next answer and checks it as every answer; fails if the connection ends first."""
        status, headers, body = self._read(method)
        request = httpx.Request(method, f"http://127.0.0.1:{self._port}{path}")
        response = httpx.Response(status, headers=headers, content=body, request=request)
        check(response)
        return response

    def is_answered(self, within: float) -> bool:
        """Whether bytes of an answer have arrived, or arrive in this time (seconds)."""
        return bool(select.select([self.sock], [], [], within)[0])

    def interim(self) -> bytes:
        """The status line of an interim response (100 Continue)."""
        line = self._file.readline()
        assert self._file.readline() == b"\r\n"
        return line

    def closed(self) -> bool:
        """Whether the service closes the connection before the socket's timeout, without another byte."""
        try:
            return self._file.read(1) == b""
        except ConnectionResetError:
            return True

    def ends(self) -> bool:
        """As `closed`, but a last 400 may come first."""
        rest = self._file.read()
        return not rest or rest.startswith(b"HTTP/1.1 400 ")

    def _read(self, method: str) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        version, status = self._file.readline().split(b" ")[:2]
        assert version == b"HTTP/1.1"
        headers = []
        while line := self._file.readline().strip():
            name, _, value = line.partition(b": ")
            headers.append((name, value))
        length = 0 if method == "HEAD" else int(dict(headers).get(b"content-length", 0))
        body = self._file.read(length)
        assert len(body) == length, "the body is shorter than its Content-Length"
        return int(status), headers, body


@contextmanager
def connect(port: int, seconds: float = 5) -> Iterator[Connection]:
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as sock, sock.makefile("rb") as file:
        yield Connection(sock, file, port)


def exchange(port: int, data: bytes) -> httpx.Response:
    """Sends these bytes on a new connection and returns the first answer."""
    method, target = data.split(maxsplit=2)[:2]
    path = urlsplit(target.decode("latin-1")).path
    with connect(port) as connection:
        connection.send(data)
        return connection.answer(method.decode(), path if path.startswith("/") else "/")


def assert_refused(port: int, sent: bytes) -> None:
    with connect(port) as connection:
        connection.send(sent)
        response = connection.answer()
        assert response.status_code == 400
        assert response.headers["connection"] == "close"
        assert connection.closed()
