"""The network between service and database is down for eight seconds."""

import asyncio

import httpx
import psycopg
import pytest

from tests.support.api import Api
from tests.support.network import network
from tests.support.outages import outages
from tests.support.service_process import start_service

pytestmark = pytest.mark.anyio

CLIENTS = 10
LATER_SECONDS = 25
"""The kernel may wait twice as long as the network was down before it retransmits."""
PROCESSES = "select count(*) from pg_stat_activity where application_name = 'todo'"


async def test_a_put_answered_503_does_not_undo_a_later_put() -> None:
    with outages() as server, network() as net, net.relay(server.data / ".s.PGSQL.5432") as address:
        url = f"postgresql://postgres@{address}/postgres?sslmode=disable&application_name=todo"
        with psycopg.connect(server.url, autocommit=True) as owner, start_service(url) as service:
            async with httpx.AsyncClient(base_url=service.url, timeout=30) as client:
                api = Api(client, owner)
                users = [api.user() for _ in range(CLIENTS)]
                tasks = [(await api.task(user))["id"] for user in users]

                async def put(title: str) -> list[int]:
                    calls = [api.update_task(*each, title=title) for each in zip(users, tasks, strict=True)]
                    return [answer.status_code for answer in await asyncio.gather(*calls)]

                assert await put("v0") == [200] * CLIENTS
                net.stop()
                first = asyncio.create_task(put("v1"))
                await asyncio.sleep(8)
                net.start()
                assert await first == [503] * CLIENTS
                while await put("v2") != [200] * CLIENTS:
                    await asyncio.sleep(0.1)
                await asyncio.sleep(LATER_SECONDS)
                titles = owner.execute("select title, count(*) from tasks group by title").fetchall()
                print(f"\nThe network was down for 8 s: the titles {LATER_SECONDS} s later are {dict(titles)}")
                assert titles == [("v2", CLIENTS)]
            async with asyncio.timeout(60):
                while (row := owner.execute(PROCESSES).fetchone()) and row[0] > CLIENTS:
                    await asyncio.sleep(1)
