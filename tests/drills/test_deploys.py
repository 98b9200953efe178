"""Two instances behind nginx, restarted one after the other under load, by the procedure of deploy/README.md."""

import asyncio
import re
import subprocess
import sys
import time

import psycopg
import pytest

from tests.support.commands import PROJECT
from tests.support.instances import Instance
from tests.support.load import load
from tests.support.nginx import nginx
from tests.support.raw_http import LIVEZ, connect
from tests.support.service_process import start_service

pytestmark = pytest.mark.anyio

RESTARTS = 5
"""Of each instance."""
LOOPS = 4
"""Processes that keep the machine busy: a start then takes seconds."""
REQUESTS = 20_000


async def test_restarting_two_instances_in_turn_under_load_fails_no_request(
    database_url: str, owner: psycopg.Connection
) -> None:
    instances = [Instance(database_url), Instance(database_url)]
    stops, starts = [], []
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(LOOPS)]
    try:
        for instance in instances:
            instance.start()
        with nginx(*(instance.port for instance in instances)) as proxy:
            async with load(proxy.url, owner, tls=proxy.tls) as running:
                for instance in instances * RESTARTS:
                    await asyncio.sleep(2)
                    began = time.monotonic()
                    await asyncio.to_thread(instance.stop)
                    stopped = time.monotonic()
                    await asyncio.to_thread(instance.start)
                    stops.append(stopped - began)
                    starts.append(time.monotonic() - stopped)
                while len(running.answers) < REQUESTS:
                    await asyncio.sleep(0.1)
            elsewhere = sum("," in line["upstream"] for line in proxy.requests())
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
        for instance in instances:
            instance.remove()
    running.compare(owner)
    ids = [user.id for user in running.users]
    rows = owner.execute("select id from tasks where user_id = any(%s)", (ids,)).fetchall()
    unanswered = {str(row[0]) for row in rows} - set(running.tasks)
    assert not unanswered, "tasks whose requests were not answered 201"
    statuses = running.report(f"{2 * RESTARTS} restarts")
    print(f"  stopped within {max(stops):.1f} s, started within {max(starts):.1f} s,", end=" ")
    print(f"{elsewhere} requests found an instance away and went to the other")
    assert sum(statuses.values()) >= REQUESTS
    assert not running.faults
    assert set(statuses) <= {200, 201, 204}


def test_the_service_keeps_idle_connections_longer_than_nginx(database_url: str) -> None:
    upstream = re.search(
        r"upstream .*?keepalive_timeout (\d+)s", (PROJECT / "deploy/nginx.conf").read_text(), re.DOTALL
    )
    assert upstream
    seconds = int(upstream[1])
    with start_service(database_url) as service, connect(service.port) as connection:
        connection.send(LIVEZ)
        assert connection.answer(path="/livez").status_code == 200
        time.sleep(seconds + 5)
        connection.send(LIVEZ)
        assert connection.answer(path="/livez").status_code == 200
    print(f"\nA connection that was idle for {seconds + 5} s is answered; nginx keeps one for {seconds} s")
