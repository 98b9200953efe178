"""One of two workers is killed under load: only its own requests are lost."""

import asyncio
import time
from typing import NamedTuple

import httpx
import psutil  # type: ignore[import-untyped]
import psycopg
import pytest

from tests.support.load import load
from tests.support.service_process import ServiceProcess, start_service

pytestmark = pytest.mark.anyio

KILLS = 3


def workers(service: ServiceProcess) -> list[psutil.Process]:
    """The running processes of the service, without Python's resource tracker."""
    alive = [each for each in psutil.Process(service.pid).children() if each.status() != psutil.STATUS_ZOMBIE]
    return [each for each in alive if "spawn_main" in " ".join(each.cmdline())]


def connections(worker: psutil.Process, port: int) -> int:
    """The number of its accepted connections; those in the socket's queue belong to no worker yet."""
    return sum(each.laddr.port == port and bool(each.raddr) for each in worker.net_connections("tcp"))


class Kill(NamedTuple):
    began: float
    ended: float
    """Kills a worker and waits until its connections are closed, which takes a while on a busy machine."""
    held: int
    """The number of the worker's connections."""
    back: float
    """Seconds until a new worker answers."""


async def kill(service: ServiceProcess) -> Kill:
    """Kills the busier worker."""
    left, doomed = sorted(workers(service), key=lambda worker: connections(worker, service.port))
    held = connections(doomed, service.port)
    began = time.monotonic()
    doomed.kill()
    await asyncio.to_thread(doomed.wait, 10)
    ended = time.monotonic()
    while True:
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{service.url}/livez")).status_code == 200
            if any(connections(new, service.port) for new in workers(service) if new not in (doomed, left)):
                return Kill(began, ended, held, time.monotonic() - began)
        assert time.monotonic() - began < 30
        await asyncio.sleep(0.02)


async def test_killing_a_worker_fails_only_its_own_requests(database_url: str, owner: psycopg.Connection) -> None:
    kills = []
    with start_service(database_url, WORKERS="2", LOGIN_FAILURE_LIMIT="0") as service:
        service.wait_for_workers(2)
        async with load(service.url, owner) as running:
            for _ in range(KILLS):
                await asyncio.sleep(2)
                kills.append(await kill(service))
            await asyncio.sleep(2)
    failed = [answer for answer in running.answers if not answer.status]
    cut_off = [fault for fault in running.faults if "Error(" in fault]
    running.faults = [fault for fault in running.faults if fault not in cut_off]
    running.compare(owner)
    statuses = running.report(f"{KILLS} workers killed")
    back = max(each.back for each in kills)
    print(f"  {len(failed)} requests cut off, the workers held {[each.held for each in kills]} connections,", end=" ")
    print(f"another worker served within {back:.1f} s")
    assert not running.faults
    assert set(statuses) <= {0, 200, 201, 204}
    assert back < 5
    for killed in kills:
        # The request was in progress, or the client did not know yet that the connection was closed.
        lost = [
            each
            for each in failed
            if each.began - 0.1 < killed.ended and killed.began < each.began + each.seconds + 0.1
        ]
        assert len(lost) <= killed.held
        failed = [each for each in failed if each not in lost]
    assert not failed
