"""The contract's limits on time: start in ten seconds; p95 under 200 ms with over a hundred connections."""

import asyncio
import time

import pytest

from tests.support.api import Api
from tests.support.raw_http_async import exchange, read
from tests.support.service_process import ServiceProcess, start_service

pytestmark = pytest.mark.anyio

CONNECTIONS = 120


async def test_the_service_answers_within_ten_seconds_of_its_start(database_url: str) -> None:
    started = time.monotonic()
    with start_service(database_url) as service:
        answer = await exchange(service, b"GET /health HTTP/1.1\r\nHost: api\r\n\r\n")
        assert (answer.status, answer.body) == (200, b'{"status":"healthy"}')
        assert time.monotonic() - started < 10


async def test_p95_is_under_200_ms_on_120_connections(service: ServiceProcess, http_api: Api) -> None:
    user = http_api.user()
    for _ in range(20):
        await http_api.task(user)
    request = f"GET /api/tasks HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {user.token}\r\n\r\n".encode()
    # Up to three rounds, because other programs may keep the machine busy for a while.
    rounds = [await _p95(service, request)]
    while rounds[-1] >= 0.2 and len(rounds) < 3:
        rounds.append(await _p95(service, request))
    assert min(rounds) < 0.2, rounds


async def _p95(service: ServiceProcess, request: bytes) -> float:
    """The 95th percentile of clients that each send a request per second on a connection of their own."""
    seconds: list[float] = []

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        await asyncio.sleep(number / CONNECTIONS)
        for _ in range(3):
            started = time.monotonic()
            writer.write(request)
            assert (await read(reader)).status == 200
            seconds.append(time.monotonic() - started)
            await asyncio.sleep(max(0.0, started + 1 - time.monotonic()))
        writer.close()

    await asyncio.gather(*(client(number) for number in range(CONNECTIONS)))
    return sorted(seconds)[int(len(seconds) * 0.95)]
