"""The metrics of real processes with several workers, on their own port."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support import commands
from tests.support.api import SECRET, token
from tests.support.service_process import ServiceProcess, start_service

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
SETTLED_SECONDS = 1.0
"""Longer than the interval in which workers publish their figures."""


@pytest.fixture
def port() -> int:
    """A free port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def scrape(port: int) -> Samples:
    text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    families = text_string_to_metric_families(text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def gauge(port: int, name: str) -> float:
    return scrape(port)[name, frozenset()]


def counted(samples: Samples) -> dict[tuple[str, str, str], float]:
    """The requests by method, route and status."""
    found = {}
    for (name, labels), value in samples.items():
        if name == "http_requests_total":
            of = dict(labels)
            found[of["method"], of["route"], of["status"]] = value
    return found


def wait_until(port: int, name: str, value: float) -> None:
    deadline = time.monotonic() + 30
    while (last := gauge(port, name)) != value:
        assert time.monotonic() < deadline, f"{name} is {last}"
        time.sleep(0.05)


@contextmanager
def locked(owner_url: str) -> Iterator[None]:
    """Locks `tasks`, so that every statement on it waits."""
    with psycopg.connect(owner_url) as holder:
        holder.execute("lock table tasks")
        yield


def ask_until(event: threading.Event, service: ServiceProcess) -> None:
    """Lists tasks again and again: each request ends with a 503 when its five seconds have passed."""
    with httpx.Client(base_url=service.url, timeout=20) as client:
        while not event.is_set():
            client.get("/api/tasks", headers=headers())


def headers() -> dict[str, str]:
    return {"Authorization": f"Bearer {token(user_id=str(uuid.uuid4()))}"}


def process_of(service: ServiceProcess) -> psutil.Process:
    """The service's main process: the child process that writes this log."""
    return next(
        process
        for process in psutil.Process().children()
        if str(service.log) in os.readlink(f"/proc/{process.pid}/fd/1")
    )


def listening(process: psutil.Process) -> set[tuple[str, int]]:
    found = (each.laddr for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN)
    return {(address.ip, address.port) for address in found}


def test_two_workers_are_counted_together(database_url: str, port: int, tmp_path: Path) -> None:
    asked: Counter[tuple[str, str, str]] = Counter()
    with start_service(database_url, WORKERS="2", METRICS_PORT=str(port), TMPDIR=str(tmp_path)) as service:
        folder = next(tmp_path.glob("todo-metrics-*"))
        assert folder.stat().st_mode & 0o077 == 0
        while len(list(folder.glob("counter_*.db"))) < 2 or asked.total() < 100:
            # A new connection for each request, so that both workers get some.
            assert httpx.get(f"{service.url}/api/tasks", headers=headers()).status_code == 200
            assert httpx.get(f"{service.url}/api/tasks/{uuid.uuid4()}", headers=headers()).status_code == 404
            assert httpx.get(f"{service.url}/no/such/{uuid.uuid4()}").status_code == 404
            assert httpx.post(f"{service.url}/api/tasks").status_code == 401
            asked += Counter(
                {
                    ("GET", "/api/tasks", "200"): 1,
                    ("GET", "/api/tasks/{id}", "404"): 1,
                    ("GET", "none", "404"): 1,
                    ("POST", "/api/tasks", "401"): 1,
                }
            )
        time.sleep(SETTLED_SECONDS)
        samples = scrape(port)
    assert counted(samples) == asked
    for route in ("/api/tasks", "/api/tasks/{id}", "none"):
        of_route = sum(count for (_, path, _), count in asked.items() if path == route)
        assert samples["http_request_duration_seconds_count", frozenset({("route", route)})] == of_route
        last = frozenset({("route", route), ("le", "+Inf")})
        assert samples["http_request_duration_seconds_bucket", last] == of_route
    seconds = samples["http_request_duration_seconds_sum", frozenset({("route", "/api/tasks")})]
    assert 0 < seconds < 5 * of_route * 100
    assert not folder.exists()


def test_the_pool_and_the_queue_for_bcrypt(database_url: str, owner_url: str, port: int) -> None:
    with start_service(database_url, METRICS_PORT=str(port)) as service, ThreadPoolExecutor(16) as threads:
        with locked(owner_url):
            seen = threading.Event()
            for _ in range(13):
                threads.submit(ask_until, seen, service)
            try:
                wait_until(port, "database_connections_in_use", 10)
                wait_until(port, "database_requests_waiting", 3)
            finally:
                seen.set()
        wait_until(port, "database_connections_in_use", 0)
        wait_until(port, "database_requests_waiting", 0)
        for number in range(4):
            account = {"email": f"{number}@example.com", "password": "correct horse"}
            threads.submit(httpx.post, f"{service.url}/api/auth/signup", json=account)
        deadline = time.monotonic() + 5
        while gauge(port, "bcrypt_queue") < 2:
            assert time.monotonic() < deadline
        wait_until(port, "bcrypt_queue", 0)


def test_after_a_worker_is_killed_its_counters_stay_and_its_gauges_go(
    database_url: str, owner_url: str, port: int
) -> None:
    with start_service(database_url, WORKERS="2", METRICS_PORT=str(port)) as service, ThreadPoolExecutor(8) as threads:
        for _ in range(20):
            httpx.get(f"{service.url}/livez")
        with locked(owner_url):
            for _ in range(6):
                threads.submit(httpx.get, f"{service.url}/api/tasks", headers=headers())
            wait_until(port, "database_connections_in_use", 6)
            for worker in process_of(service).children():
                if "multiprocessing.spawn" in " ".join(worker.cmdline()):
                    worker.send_signal(signal.SIGKILL)
            wait_until(port, "database_connections_in_use", 0)
        assert counted(scrape(port))["GET", "/livez", "200"] == 20


def test_metrics_listen_on_loopback_and_not_on_the_services_port(database_url: str, port: int) -> None:
    with start_service(database_url, METRICS_PORT=str(port), HOST="0.0.0.0") as service:
        assert httpx.get(f"{service.url}/metrics").status_code == 404
        assert listening(process_of(service)) == {("0.0.0.0", service.port), ("127.0.0.1", port)}


def test_metrics_listen_on_metrics_host(database_url: str, port: int) -> None:
    with start_service(database_url, METRICS_PORT=str(port), METRICS_HOST="0.0.0.0") as service:
        assert listening(process_of(service)) == {("127.0.0.1", service.port), ("0.0.0.0", port)}


def test_metrics_are_off_by_default(database_url: str, tmp_path: Path) -> None:
    with start_service(database_url, TMPDIR=str(tmp_path)) as service:
        assert listening(process_of(service)) == {("127.0.0.1", service.port)}
        assert list(tmp_path.iterdir()) == []
    loaded = "import sys, service.cli, service.web.server; sys.exit('prometheus_client' in sys.modules)"
    subprocess.run([sys.executable, "-c", loaded], check=True, cwd=commands.PROJECT)


def test_a_port_that_is_taken_is_one_sentence(database_url: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, _, errors = commands.run(
            tmp_path,
            "service",
            DATABASE_URL=database_url,
            BETTER_AUTH_SECRET=SECRET,
            PORT="0",
            METRICS_PORT=str(port),
            TMPDIR=str(tmp_path),
        )
    assert (status, errors) == (
        2,
        f"METRICS_PORT={port} cannot be used on METRICS_HOST=127.0.0.1: Address already in use.\n",
    )
    assert not list(tmp_path.glob("todo-metrics-*"))


def test_an_invalid_metrics_port_is_one_sentence(tmp_path: Path) -> None:
    status, _, errors = commands.run(tmp_path, "service", METRICS_PORT="65536")
    assert status == 2 and re.fullmatch(r"METRICS_PORT must be less than or equal to 65535, for example 0\.\n", errors)


def test_a_metrics_port_equal_to_port_is_one_sentence(tmp_path: Path) -> None:
    status, _, errors = commands.run(tmp_path, "service", PORT="8000", METRICS_PORT="8000")
    assert (status, errors) == (2, "METRICS_PORT=8000 is the PORT too: choose another, for example 9100.\n")
