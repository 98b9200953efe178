"""Attacks of one client or one account in 512 MB: no worker is killed, and another account is answered meanwhile."""

import contextlib
import json
import os
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]
import psycopg
import pytest

from tests.support.api import insert_user
from tests.support.cgroup import peak_bytes, start_limited_service
from tests.support.databases import Template
from tests.support.raw_http import MIB, post, request
from tests.support.service_process import ServiceProcess

LIMIT_BYTES = 512 * MIB
ATTACK_SECONDS = float(os.environ.get("DRILL_HOSTILE_SECONDS", "15"))
TASKS = 5_000
"""The default of TASK_LIMIT."""


@dataclass
class Other:
    """Another account, which sends one request after the other."""

    url: str
    token: str
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def work(self, stopping: threading.Event) -> None:
        headers = {"Authorization": f"Bearer {self.token}"}
        with httpx.Client(base_url=self.url, headers=headers, timeout=30) as client:
            while not stopping.is_set():
                for method, body in (("POST", {"title": "Buy milk"}), ("GET", None)):
                    began = time.monotonic()
                    self.statuses[client.request(method, "/api/tasks", json=body).status_code // 100] += 1
                    self.seconds.append(time.monotonic() - began)
                    time.sleep(0.02)

    def p99(self) -> float:
        return sorted(self.seconds)[len(self.seconds) * 99 // 100]


@contextmanager
def at_once(other: Other) -> Iterator[None]:
    stopping = threading.Event()
    thread = threading.Thread(target=other.work, args=(stopping,))
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def connections(stack: ExitStack, port: int, count: int, sent: bytes) -> list[socket.socket]:
    """Opens this many connections, sends these bytes on each and reads nothing; the service may refuse some."""
    opened = []
    for _ in range(count):
        sock = stack.enter_context(socket.socket())
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with contextlib.suppress(OSError):
            sock.connect(("127.0.0.1", port))
            sock.sendall(sent)
            opened.append(sock)
    return opened


def kernel_tcp_bytes() -> int:
    """The memory of all TCP sockets of this machine; the cgroup of version 1 does not count it."""
    pages = re.search(r"^TCP: .* mem (\d+)", Path("/proc/net/sockstat").read_text(), re.MULTILINE)
    assert pages
    return int(pages[1]) * os.sysconf("SC_PAGE_SIZE")


def unread_lists(service: ServiceProcess, attacker: str) -> None:
    sent = request("GET /api/tasks", b"Authorization: Bearer " + attacker.encode())
    with ExitStack() as stack:
        connections(stack, service.port, 60, sent)
        time.sleep(ATTACK_SECONDS)


def unread_docs(service: ServiceProcess, _: str) -> None:
    with ExitStack() as stack:
        before = kernel_tcp_bytes()
        connections(stack, service.port, 400, request("GET /docs"))
        time.sleep(2)
        held = kernel_tcp_bytes() - before
        print(f"\nThe kernel holds {held / 1e6:.0f} MB more for TCP.", end="")
        assert held < 100e6
        time.sleep(ATTACK_SECONDS)


def nested_arrays(service: ServiceProcess, _: str) -> None:
    body = b'{"email": [' + b",".join([b"[]"] * 349_000) + b"]}"
    deadline = time.monotonic() + ATTACK_SECONDS
    with httpx.Client(base_url=service.url, timeout=30) as client:
        while time.monotonic() < deadline:
            assert client.post("/api/auth/login", content=body).status_code == 413


def padded_tokens(service: ServiceProcess, attacker: str) -> None:
    deadline, number = time.monotonic() + ATTACK_SECONDS, 0
    with httpx.Client(base_url=service.url, timeout=30) as client:
        while time.monotonic() < deadline:
            number += 1
            authorization = f"Bearer{' ' * (number % 60_000 + 1)}{attacker}"
            assert client.head("/api/tasks/1", headers={"Authorization": authorization}).status_code in (401, 404)


def unfinished_bodies(service: ServiceProcess, attacker: str) -> None:
    with ExitStack() as stack:
        for _ in range(1000):
            connections(stack, service.port, 1, post(attacker, b"Content-Length: 1048576", body=b"x" * (MIB - 1)))
        time.sleep(ATTACK_SECONDS)


def lists_on_300_connections(service: ServiceProcess, attacker: str) -> None:
    sent = request("GET /api/tasks", b"Authorization: Bearer " + attacker.encode())
    deadline = time.monotonic() + ATTACK_SECONDS
    with ExitStack() as stack:
        opened = connections(stack, service.port, 300, sent)
        while time.monotonic() < deadline:
            for sock in opened:
                with contextlib.suppress(OSError):
                    sock.recv(1 << 20, socket.MSG_DONTWAIT)
            time.sleep(0.01)


ATTACKS: dict[str, Callable[[ServiceProcess, str], None]] = {
    "9: answers that nobody reads": unread_lists,
    "10: GET /docs that nobody reads": unread_docs,
    "11: nested arrays": nested_arrays,
    "12: one token with many blanks": padded_tokens,
    "14: bodies that do not end": unfinished_bodies,
    "15: lists on 300 connections": lists_on_300_connections,
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=list(ATTACKS))
def test_an_attack_delays_no_other_account_and_kills_no_worker(
    template: Template, attack: Callable[[ServiceProcess, str], None]
) -> None:
    with template.copy() as name:
        with psycopg.connect(template.owner_url(name), autocommit=True) as owner:
            attacker, user = insert_user(owner), insert_user(owner)
            owner.execute(
                "insert into tasks (id, user_id, title, description)"
                " select gen_random_uuid(), %s, repeat('x', 255), repeat(chr(1), 1000) from generate_series(1, %s)",
                (attacker.id, TASKS),
            )
        limited = start_limited_service(LIMIT_BYTES, template.service_url(name), WORKERS="2", LOGIN_FAILURE_LIMIT="0")
        with limited as (service, group):
            parent = psutil.Process(service.pid)
            service.wait_for_workers(2)
            before = {process.pid for process in parent.children()}
            other = Other(service.url, user.token)
            with at_once(other):
                time.sleep(1)
                attack(service, attacker.token)
            after = {process.pid for process in parent.children()}
            print(f"\n{json.dumps(other.statuses)} answers by class, p99 {other.p99() * 1000:.0f} ms,", end=" ")
            print(f"peak {peak_bytes(group) / 1e6:.0f} MB, ended workers: {len(before - after)}")
        assert before == after, "a worker was killed"
        assert set(other.statuses) == {2}
        assert other.p99() < 0.5
