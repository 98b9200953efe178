"""PostgreSQL terminates all connections once a second, and no request fails."""

import asyncio

import psycopg
import pytest

from tests.support.load import load
from tests.support.outages import TERMINATE
from tests.support.service_process import start_service

pytestmark = pytest.mark.anyio


async def test_terminating_all_connections_each_second_fails_no_request(
    database_url: str, owner: psycopg.Connection
) -> None:
    ended = 0
    with start_service(database_url, LOGIN_FAILURE_LIMIT="0") as service:
        async with load(service.url, owner) as running:
            for _ in range(20):
                await asyncio.sleep(1)
                row = await asyncio.to_thread(lambda: owner.execute(TERMINATE).fetchone())
                assert row
                ended += row[0]
            await asyncio.sleep(1)
        running.compare(owner)
        statuses = running.report(f"{ended} connections terminated")
        log = service.log.read_text()
    lost = log.count("connection lost under")
    print(f"  {lost} statements lost their connection")
    assert ended > 20 and lost > 20
    assert running.signed_up
    assert not running.faults
    assert set(statuses) <= {200, 201, 204}
