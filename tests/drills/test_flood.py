"""Latency of the task lists of 16 clients, without and with 64 clients that log in without pause."""

import asyncio
import json
import os
import statistics
import sys
import time
import uuid
from collections import Counter

import bcrypt
import psycopg
import pytest

from tests.support.api import PASSWORD, token
from tests.support.commands import PROJECT
from tests.support.databases import Template
from tests.support.flooders import CLIENTS as FLOODERS
from tests.support.flooders import EMAIL, Client
from tests.support.service_process import ServiceProcess, start_service

SECONDS = float(os.environ.get("DRILL_FLOOD_SECONDS", "60"))
CLIENTS, REQUESTS_A_SECOND, TASKS = 16, 200, 20


@pytest.mark.anyio
async def test_a_flood_of_log_ins_does_not_slow_task_lists(template: Template) -> None:
    user_id = str(uuid.uuid4())
    with template.copy() as name, start_service(template.service_url(name), LOGIN_FAILURE_LIMIT="0") as service:
        _fill(template.owner_url(name), user_id)
        user = token(user_id=user_id, email=EMAIL)
        await _lists(service, user, min(SECONDS, 5))  # fills the caches
        alone = await _lists(service, user, SECONDS)
        command = [sys.executable, "-m", "tests.support.flooders", str(service.port), str(SECONDS + 2)]
        flood = await asyncio.create_subprocess_exec(*command, cwd=PROJECT, stdout=asyncio.subprocess.PIPE)
        await asyncio.sleep(1)
        beside = await _lists(service, user, SECONDS)
        log_ins = json.loads((await flood.communicate())[0])
    _judge(alone, beside, log_ins)


def _judge(alone: list[float], beside: list[float], log_ins: list[list[float]]) -> None:
    first, second = _percentile(alone), _percentile(beside)
    allowed = max(5 * first, 0.05)
    print(f"Lists alone: {_figures(alone)}")
    print(f"Lists beside {FLOODERS} who log in: {_figures(beside)}; allowed p99: {allowed * 1000:.1f} ms")
    refused = [seconds for status, seconds in log_ins if status in (429, 503)]
    print(f"Log-ins: {dict(Counter(status for status, _ in log_ins))}, slowest refusal {max(refused, default=0):.2f} s")
    assert log_ins
    assert {status for status, _ in log_ins} <= {200, 401, 429, 503}
    assert max(refused, default=0) < 2
    assert second <= allowed


def _fill(owner_url: str, user_id: str) -> None:
    stored = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(12)).decode()
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute(
            "insert into users (id, email, password_hash) values (%s, 'ada@example.com', %s)", (user_id, stored)
        )
        for _ in range(TASKS):
            insert = "insert into tasks (id, user_id, title) values (gen_random_uuid(), %s, 'Buy milk')"
            owner.execute(insert, (user_id,))


async def _lists(service: ServiceProcess, user: str, seconds: float) -> list[float]:
    """Sends lists at the given rate; returns each one's seconds since it was due. Fails where an answer is not 200."""
    pause = CLIENTS / REQUESTS_A_SECOND
    began = time.perf_counter()
    took: list[float] = []

    async def client(number: int) -> None:
        request = f"GET /api/tasks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {user}\r\n\r\n".encode()
        http = await Client.connect(service.port)
        due = began + number * pause / CLIENTS
        while due < began + seconds:
            await asyncio.sleep(max(0, due - time.perf_counter()))
            status, _, body = await http.call(request)
            took.append(time.perf_counter() - due)
            assert status == 200
            assert len(json.loads(body)["tasks"]) == TASKS
            due += pause
        http.close()

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    return took


def _percentile(took: list[float]) -> float:
    return statistics.quantiles(took, n=100)[98]


def _figures(took: list[float]) -> str:
    median, worst = statistics.median(took) * 1000, max(took) * 1000
    return f"{len(took)} requests, median {median:.1f} ms, p99 {_percentile(took) * 1000:.1f} ms, worst {worst:.1f} ms"
