"""Connections: pipelined requests, half-closed connections, resets, slow clients."""

import contextlib
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.raw_http import CHUNKED, LIVEZ, MIB, TASK, connect, exchange, post, request, sized
from tests.support.service_process import ServiceProcess

PATH = "/api/tasks"


def test_a_hundred_pipelined_requests_are_answered_in_order(service: ServiceProcess) -> None:
    each = [
        ("GET", "/livez", 200, LIVEZ[:-2]),
        ("GET", "/unknown", 404, request("GET /unknown")[:-2]),
        ("HEAD", "/livez", 200, request("HEAD /livez")[:-2]),
        ("POST", PATH, 401, post("stale", sized(TASK), body=b"")[:-2]),
    ]
    with connect(service.port) as connection:
        for number in range(25):
            for index, (method, _, _, head) in enumerate(each):
                body = TASK if method == "POST" else b""
                connection.send(head + b"X-Request-ID: %d.%d\r\n\r\n" % (number, index) + body)
        for number in range(25):
            for index, (method, path, status, _) in enumerate(each):
                response = connection.answer(method, path)
                assert response.headers["x-request-id"] == f"{number}.{index}"
                assert response.status_code == status


def test_endless_pipelined_requests_use_no_memory(service: ServiceProcess) -> None:
    """A waiting request would take kilobytes, and costs its sender only some twenty bytes."""
    before = service.memory()
    with connect(service.port) as connection, ThreadPoolExecutor(1) as reader:
        reading = reader.submit(lambda: connection.answer(path="/livez"))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
            for _ in range(100):
                connection.send(LIVEZ * 2000)
        assert reading.result().status_code == 200
        assert service.memory() - before < 16 * MIB


def test_requests_before_invalid_bytes_are_answered(service: ServiceProcess, user: str) -> None:
    """Otherwise the task would be created, but the client would get a 400."""
    with connect(service.port) as connection:
        connection.send(LIVEZ + post(user, sized(TASK)) + b"nonsense\r\n\r\n")
        assert connection.answer(path="/livez").status_code == 200
        assert connection.answer("POST", PATH).status_code == 201
        assert connection.ends()


def test_a_request_after_a_refused_upgrade_does_not_hang(service: ServiceProcess) -> None:
    with connect(service.port) as connection:
        connection.send(request("GET /livez", b"Connection: Upgrade", b"Upgrade: h2c") + LIVEZ)
        if connection.answer(path="/livez").headers.get("connection") == "close":
            assert connection.closed()
        else:
            assert connection.answer(path="/livez").status_code == 200


def test_requests_after_connection_close_are_ignored(service: ServiceProcess) -> None:
    with connect(service.port) as connection:
        connection.send(request("GET /livez", b"Connection: close") + LIVEZ)
        assert connection.answer(path="/livez").headers["connection"] == "close"
        assert connection.closed()


def test_a_half_closed_connection_gets_its_answer(service: ServiceProcess, user: str) -> None:
    with connect(service.port) as connection:
        connection.send(post(user, sized(TASK)))
        connection.sock.shutdown(socket.SHUT_WR)
        assert connection.answer("POST", PATH).status_code == 201


@pytest.mark.parametrize("end", [1, 10, 60, -30, -1])
def test_an_incomplete_request_changes_nothing(service: ServiceProcess, user: str, end: int) -> None:
    with connect(service.port) as connection:
        connection.send(post(user, sized(TASK))[:end])
        connection.sock.shutdown(socket.SHUT_WR)
        assert connection.closed()


def test_resets_at_any_moment_cause_no_error(service: ServiceProcess, user: str) -> None:
    sent = (post(user, sized(TASK)), request("GET /docs"), post(user, CHUNKED, body=b"15\r\n"), LIVEZ * 100, b"GE")
    for number in range(200):
        with connect(service.port) as connection:
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.send(sent[number % len(sent)])
            time.sleep(number % 4 / 1000)


def test_a_thousand_idle_connections_do_not_delay_others(service: ServiceProcess) -> None:
    idle = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(1000)]
    began = time.monotonic()
    assert exchange(service.port, LIVEZ).status_code == 200
    assert time.monotonic() - began < 5
    for sock in idle:
        sock.close()


def test_slow_clients_are_cut_off(service: ServiceProcess, user: str) -> None:
    """Each case sends a few bytes every second. They run in parallel, because each takes as long as its limit."""
    cases = {
        "says nothing": (b"", b"", 20, ""),
        "a head": (b"GET /livez HTTP/1.1\r\nX-A: ", b"a", 20, ""),
        "a body of known length": (post(user, b"Content-Length: 10000", body=b"{"), b" ", 20, "408"),
        "a body in chunks": (post(user, CHUNKED, body=b"1\r\n{\r\n"), b"1\r\n \r\n", 20, "408"),
        "trailers": (post(user, CHUNKED, body=b"1\r\n{\r\n0\r\nX-A: "), b"a", 20, "408"),
        "a body that nobody reads": (post("stale", b"Content-Length: 10000", body=b"{"), b" ", 20, "401"),
        "empty lines behind an answer": (LIVEZ, b"\r\n", 21, "200"),
    }
    with ThreadPoolExecutor(len(cases)) as threads:
        drips = {name: threads.submit(send_slowly, service, sent, drop) for name, (sent, drop, _, _) in cases.items()}
        time.sleep(1)
        assert exchange(service.port, LIVEZ).status_code == 200, "the slow clients do not delay others"
        for name, (_, _, limit, status) in cases.items():
            seconds, answered = drips[name].result()
            assert answered == status, name
            assert limit - 1 <= seconds <= limit + 15, f"{name}: {seconds:.1f} s"


def send_slowly(service: ServiceProcess, sent: bytes, drop: bytes) -> tuple[float, str]:
    """Sends `drop` every second until the connection ends; returns the seconds until then and the answer's status."""
    began, received = time.monotonic(), b""
    with connect(service.port, seconds=1) as connection:
        connection.send(sent)
        while time.monotonic() - began < 40:
            try:
                piece = connection.sock.recv(65536)
                received += piece
                if not piece:
                    break
            except TimeoutError:
                connection.send(drop)
            except ConnectionResetError:
                break
    return time.monotonic() - began, received[9:12].decode()
