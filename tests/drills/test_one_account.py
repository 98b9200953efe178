"""One account with as many tasks as TASK_LIMIT allows, each with the longest possible JSON, requests its list on 300
connections while another account works. The two workers have 512 MB together."""

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import psutil  # type: ignore[import-untyped]
import psycopg
import pytest

from tests.support.api import Api, User
from tests.support.cgroup import peak_bytes, start_limited_service
from tests.support.databases import Template
from tests.support.service_process import ServiceProcess

pytestmark = pytest.mark.anyio

MEMORY_BYTES = 512 * 1024 * 1024
TASKS = int(os.environ.get("DRILL_TASKS", "10000"))
CONNECTIONS = 300
SECONDS = 30
# Control characters have the longest form in JSON: six bytes each.
FILL = """
    insert into tasks (user_id, id, title, description)
    select %s, gen_random_uuid(), repeat(E'\\x01', 255), repeat(E'\\x01', 1000) from generate_series(1, %s)
"""


# Requests the list again and again on each connection and reads the answers. It runs in a separate process, so that it
# does not delay the measured requests.
FLOOD = """
import asyncio, sys

async def ask(port, token):
    request = f"GET /api/tasks HTTP/1.0\\r\\nAuthorization: Bearer {token}\\r\\n\\r\\n"
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request.encode())
            while await reader.read(1 << 20):
                pass
            writer.close()
        except OSError:
            await asyncio.sleep(0.1)

async def main(port, token, connections):
    await asyncio.gather(*(ask(port, token) for _ in range(connections)))

asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
"""


@contextmanager
def flood(service: ServiceProcess, user: User) -> Iterator[None]:
    command = [sys.executable, "-c", FLOOD, str(service.port), user.token, str(CONNECTIONS)]
    with subprocess.Popen(command) as process:
        yield
        process.terminate()


async def work(api: Api, user: User) -> tuple[list[float], Counter[int]]:
    """Sends the other account's requests one after the other; returns their durations and statuses."""
    took, statuses = [], Counter[int]()
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        for call in (api.list_tasks(user), api.create_task(user, title="Mine")):
            began = time.monotonic()
            statuses[(await call).status_code] += 1
            took.append(time.monotonic() - began)
    return took, statuses


async def test_the_other_account_is_answered(template: Template) -> None:
    with (
        template.copy() as name,
        psycopg.connect(template.owner_url(name), autocommit=True) as owner,
        start_limited_service(
            MEMORY_BYTES, template.service_url(name), WORKERS="2", LOG_LEVEL="warning", TASK_LIMIT="0"
        ) as (service, group),
    ):
        async with httpx.AsyncClient(base_url=service.url, timeout=30) as client:
            api = Api(client, owner)
            greedy, other = api.user(), api.user()
            owner.execute(FILL, (greedy.id, TASKS))
            workers = {child.pid for child in psutil.Process(service.pid).children(recursive=True)}
            with flood(service, greedy):
                await asyncio.sleep(3)
                took, statuses = await work(api, other)
            peak = peak_bytes(group)
            p99 = statistics.quantiles(took, n=100)[98]
            print(f"\n{TASKS} tasks, {CONNECTIONS} connections: the other account's answers {dict(statuses)},")
            print(
                f"  median {statistics.median(took) * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms; peak {peak / 1e6:.0f} MB"
            )
            assert workers <= {child.pid for child in psutil.Process(service.pid).children(recursive=True)}
            assert set(statuses) <= {200, 201}
