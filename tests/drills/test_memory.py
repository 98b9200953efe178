"""The memory of all workers after attacks is close to the memory before."""

import contextlib
import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg

from tests.support.api import insert_user
from tests.support.databases import Template
from tests.support.raw_http import CHUNKED, LIVEZ, MIB, TASK, post, request, sized
from tests.support.service_process import ServiceProcess, start_service

REST_SECONDS = float(os.environ.get("DRILL_MEMORY_REST_SECONDS", "30"))
PIECE = b"X" * 65536
CHUNK = b"10000\r\n" + PIECE + b"\r\n"
CHUNKED_TASK = b"15\r\n" + TASK + b"\r\n0\r\n"


def test_attacks_leave_no_memory_behind(template: Template) -> None:
    with (
        template.copy() as name,
        start_service(template.service_url(name), WORKERS="2", LOGIN_FAILURE_LIMIT="10") as service,
    ):
        with psycopg.connect(template.owner_url(name), autocommit=True) as owner:
            user = insert_user(owner).token
        _ordinary(service, user)
        before = service.memory()
        print(f"Memory after 2,000 ordinary requests: {before / 1e6:.1f} MB")
        for what, attack in _attacks(user).items():
            attack(service)
            print(f"  after {what}: {service.memory() / 1e6:.1f} MB")
        time.sleep(REST_SECONDS)
        after = service.memory()
        print(f"Memory {REST_SECONDS:.0f} s after the last attack: {after / 1e6:.1f} MB, {after / before - 1:+.1%}")
        assert "Traceback" not in service.log.read_text()
    assert after <= before * 1.1


def test_bodies_that_do_not_end_leave_no_memory_behind(template: Template) -> None:
    """At most 32 MiB of large bodies are held at once, and glibc returns them: 300 such bodies left 250 MB before."""
    with template.copy() as name, start_service(template.service_url(name), LOGIN_FAILURE_LIMIT="0") as service:
        with psycopg.connect(template.owner_url(name), autocommit=True) as owner:
            user = insert_user(owner).token
        _ordinary(service, user)
        before = service.memory()
        unfinished = post(user, b"Content-Length: 1048576", body=b"x" * (MIB - 1))
        with contextlib.ExitStack() as stack:
            for _ in range(300):
                sock = stack.enter_context(socket.create_connection(("127.0.0.1", service.port)))
                sock.sendall(unfinished)
            high = service.memory() - before
        time.sleep(5)
        left = service.memory() - before
        print(f"300 unfinished bodies of 1 MiB: {high / 1e6:.0f} MB more, {left / 1e6:.0f} MB when they are gone")
    assert high < 150e6
    assert left < 40e6


def _ordinary(service: ServiceProcess, user: str) -> None:
    """2,000 requests on 20 connections, some with a token that the service has not seen."""

    def some(number: int) -> None:
        with httpx.Client(base_url=service.url, headers={"Authorization": f"Bearer {user}"}, timeout=30) as client:
            for _ in range(10):
                task = client.post("/api/tasks", json={"title": f"Task {number}", "description": "x" * 1000})
                path = f"/api/tasks/{task.json()['task']['id']}"
                for _ in range(3):
                    client.get("/api/tasks").raise_for_status()
                client.get(path).raise_for_status()
                client.put(path, json={"completed": True}).raise_for_status()
                client.delete(path).raise_for_status()
                client.get("/health").raise_for_status()
                client.get("/docs").raise_for_status()
                assert client.get("/unknown").status_code == 404

    with ThreadPoolExecutor(10) as threads:
        list(threads.map(some, range(20)))


def _attacks(user: str) -> dict[str, Callable[[ServiceProcess], None]]:
    """For each attack, what 20 connections send at once: first the beginning, then the continuation again and again."""
    bytes_of = {
        "heads without end": (b"GET /livez HTTP/1.1\r\nX-A: ", PIECE),
        "targets without end": (b"GET /", PIECE),
        "many headers": (b"GET /livez HTTP/1.1\r\n", b"X-A: b\r\n" * 8192),
        "trailers": (post(user, CHUNKED, body=CHUNKED_TASK), b"X-A: b\r\n" * 8192),
        "one trailer": (post(user, CHUNKED, body=CHUNKED_TASK + b"X-A: "), PIECE),
        "chunk extensions": (post(user, CHUNKED, body=b"15;"), PIECE),
        "bodies without end": (post(user, b"Content-Length: 9999999999", body=b""), PIECE),
        "chunks without end": (post(user, CHUNKED, body=b""), CHUNK),
        "bodies that nobody reads": (post("stale", CHUNKED, body=b""), CHUNK),
        "pipelined requests": (b"", LIVEZ * 2000),
        "pipelined statements": (b"", request("GET /api/tasks", b"Authorization: Bearer " + user.encode()) * 200),
        "nonsense": (b"", os.urandom(65536)),
        "empty lines": (LIVEZ, b"\r\n" * 32768),
    }
    attacks: dict[str, Callable[[ServiceProcess], None]] = {
        what: lambda service, sent=sent: _from_20(service, *sent)  # type: ignore[misc]
        for what, sent in bytes_of.items()
    }
    attacks["half a task on 500 connections"] = lambda service: _idle(service, post(user, sized(TASK), body=TASK[:9]))
    attacks["half a head on 500 connections"] = lambda service: _idle(service, LIVEZ[:-2])
    attacks["log-ins with long passwords"] = _log_ins
    return attacks


def _from_20(service: ServiceProcess, first: bytes, again: bytes) -> None:
    """Sends 20 MB on each connection and reads the answers now and then."""

    def attack(_: int) -> None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", service.port), timeout=2) as sock:
            sock.sendall(first)
            for _ in range(20_000_000 // len(again)):
                sock.sendall(again)
                with contextlib.suppress(BlockingIOError):
                    sock.recv(1 << 20, socket.MSG_DONTWAIT)

    with ThreadPoolExecutor(20) as threads:
        list(threads.map(attack, range(20)))


def _idle(service: ServiceProcess, first: bytes) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(500):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", service.port)))
            sock.sendall(first)


def _log_ins(service: ServiceProcess) -> None:
    with httpx.Client(base_url=service.url, timeout=30) as client:
        for number in range(20):
            sent = {"email": f"{number}@example.com", "password": "x" * 10_000}
            assert client.post("/api/auth/login", json=sent).status_code in (401, 429)
