"""An idle service closes its connections, so that a serverless database can sleep."""

import asyncio

import httpx
import psycopg
import pytest

from service.postgres.pool import IDLE_SECONDS
from tests.support.api import Api
from tests.support.service_process import start_service

pytestmark = pytest.mark.anyio

OPEN = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"


def opened(owner: psycopg.Connection) -> int:
    row = owner.execute(OPEN).fetchone()
    assert row
    return int(row[0])


async def test_an_idle_service_has_no_database_connection(database_url: str, owner: psycopg.Connection) -> None:
    with start_service(database_url, WORKERS="2") as service:
        async with httpx.AsyncClient(base_url=service.url) as client:
            api = Api(client, owner)
            user = api.user()
            await asyncio.gather(*(api.list_tasks(user) for _ in range(100)))
            before = opened(owner)
            await asyncio.sleep(IDLE_SECONDS / 2)
            await api.get("/livez")
            await asyncio.sleep(IDLE_SECONDS / 2 + 1)
            after = opened(owner)
            answer = await api.list_tasks(user)
    print(f"\nIdle for {IDLE_SECONDS:.0f} s: {before} connections before, {after} after; then {answer.status_code}")
    assert before > 0
    assert after == 0
    assert answer.status_code == 200
