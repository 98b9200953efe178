"""PostgreSQL is stopped (immediate mode) for five seconds under load."""

import asyncio
import time

import httpx
import psycopg
import pytest

from tests.support.api import Api
from tests.support.load import load
from tests.support.outages import outages
from tests.support.service_process import start_service

pytestmark = pytest.mark.anyio


async def test_an_immediate_stop_of_five_seconds_loses_nothing() -> None:
    with outages() as server, start_service(server.url, LOGIN_FAILURE_LIMIT="0") as service:
        with psycopg.connect(server.url, autocommit=True) as owner:
            async with load(service.url, owner) as running:
                await asyncio.sleep(3)
                await asyncio.to_thread(server.stop_at_once)
                stopped = time.monotonic()
                await asyncio.sleep(5)
                await asyncio.to_thread(server.start)
                took = server.accepts_since - stopped
                await asyncio.sleep(max(0, 2 - (time.monotonic() - server.accepts_since)))
                async with httpx.AsyncClient(base_url=service.url) as client:
                    user = running.users[0]
                    api = Api(client)
                    began = time.monotonic()
                    after = [(await api.list_tasks(user)).status_code for _ in range(100)]
                await asyncio.sleep(2)
        with psycopg.connect(server.url, autocommit=True) as owner:
            running.compare(owner)
    statuses = running.report(f"PostgreSQL away for {took:.1f} s")
    late = [answer for answer in running.answers if answer.began > began and answer.status == 503]
    last = max((answer.began for answer in running.answers if answer.status == 503), default=0) - server.accepts_since
    print(f"  100 requests afterwards: {after.count(200)} answered 200; the last 503 was asked for {last:+.2f} s after")
    assert after == [200] * 100
    assert not late
    assert statuses[503]
    assert not running.faults
    # Without sign-ups: the duration of bcrypt depends on the load of the machine.
    assert max(answer.seconds for answer in running.answers if "auth" not in answer.path) < 6
