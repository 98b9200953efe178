"""PostgreSQL waits at each commit for a synchronous standby that does not exist."""

import asyncio

import httpx
import psycopg
import pytest

from service.postgres.pool import POOL_SIZE
from tests.support.api import Api
from tests.support.outages import outages
from tests.support.service_process import start_service

pytestmark = pytest.mark.anyio

ROUNDS = 3
PROCESSES = "select count(*) from pg_stat_activity where application_name = 'todo'"


async def test_requests_past_their_deadline_leave_no_server_processes() -> None:
    with (
        outages() as server,
        psycopg.connect(server.url, autocommit=True) as owner,
        start_service(f"{server.url}&application_name=todo") as service,
    ):
        async with httpx.AsyncClient(base_url=service.url, timeout=30) as client:
            api = Api(client, owner)
            users = [api.user() for _ in range(2 * POOL_SIZE)]
            owner.execute("alter system set synchronous_standby_names = 'gone'")
            owner.execute("select pg_reload_conf()")
            processes = []
            for _ in range(ROUNDS):
                answers = await asyncio.gather(*(api.create_task(user) for user in users))
                assert {answer.status_code for answer in answers} == {503}
                row = owner.execute(PROCESSES).fetchone()
                assert row
                processes.append(row[0])
            print(f"\nServer processes of a pool of {POOL_SIZE} after each 5 s: {processes}")
            assert max(processes) <= 2 * POOL_SIZE
            owner.execute("alter system reset synchronous_standby_names")
            owner.execute("select pg_reload_conf()")
            assert (await api.create_task(users[0])).status_code == 201
