"""Failures and shard moves on a Citus cluster under load, and the answers that users get."""

import asyncio
import re
import time
from collections.abc import Iterator

import httpx
import psycopg
import pytest

from tests.support.api import BROWSER, Api
from tests.support.citus import COORDINATOR, NODES, WORKERS, Cluster, cluster
from tests.support.load import Load, load
from tests.support.service_process import ServiceProcess, start_service

pytestmark = pytest.mark.anyio

DONE = {200, 201, 204}
NODE_OF = """
    select nodename from citus_shards
    where shardid = get_shard_id_for_distribution_column('tasks', %s::uuid)
"""


@pytest.fixture(scope="module")
def citus() -> Iterator[Cluster]:
    with cluster() as started:
        started.shard()
        yield started


def check(running: Load, citus: Cluster, service: ServiceProcess, what: str) -> set[int]:
    """Compares the database with the answers; returns the statuses."""
    with citus.connect() as owner:
        running.compare(owner)
    statuses = set(running.report(what))
    assert not running.faults, errors(service)
    return statuses


def errors(service: ServiceProcess) -> set[str]:
    """PostgreSQL's errors in the service's log."""
    return set(re.findall(r"asyncpg\.[\w.]+: .*", service.log.read_text()))


@pytest.mark.parametrize("node", NODES)
async def test_terminated_connections_on_a_worker_node_fail_no_request(citus: Cluster, node: str) -> None:
    ended = 0
    with (
        start_service(citus.url(), LOGIN_FAILURE_LIMIT="0") as service,
        citus.connect() as owner,
        citus.connect("postgres", node) as superuser,
    ):
        async with load(service.url, owner) as running:
            for _ in range(10):
                await asyncio.sleep(1)
                ended += len(superuser.execute(END_SERVICE).fetchall())
        assert ended
        assert check(running, citus, service, f"{ended} connections ended on {node}") <= DONE


END_SERVICE = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'todo_service'"


async def test_a_worker_node_stopped_for_five_seconds_affects_only_its_users(citus: Cluster) -> None:
    """Sign-ups get 503 too, because the table `users` is on every node."""
    with start_service(citus.url(), LOGIN_FAILURE_LIMIT="0") as service, citus.connect() as owner:
        async with load(service.url, owner) as running:
            await asyncio.sleep(3)
            await asyncio.to_thread(citus.stop, WORKERS[0])
            try:
                await asyncio.sleep(2.5)
                async with httpx.AsyncClient(base_url=service.url, timeout=30) as client:
                    assert (await Api(client).sign_up("ada@example.com")).status_code == 503
                await asyncio.sleep(2.5)
            finally:
                await asyncio.to_thread(citus.start, WORKERS[0])
            await asyncio.sleep(5)
        nodes = {user.token: node_of(owner, user.id) for user in running.users}
        assert check(running, citus, service, "a worker away for 5 s") <= DONE | {503}
    refused = [answer for answer in running.answers if answer.status == 503]
    assert {nodes[answer.token] for answer in refused if "auth" not in answer.path} == {WORKERS[0]}
    last = max(answer.began for answer in running.answers)
    assert not [answer for answer in refused if answer.began > last - 2]


async def test_a_stopped_coordinator_does_not_affect_users_on_a_worker_node(citus: Cluster) -> None:
    """Users with a token continue through a worker node."""
    with start_service(citus.url(node=WORKERS[1])) as service, citus.connect() as owner:
        async with httpx.AsyncClient(base_url=service.url, headers=BROWSER, timeout=30) as client:
            users = [Api(client, owner).user() for _ in range(20)]
            assert {node_of(owner, user.id) for user in users} == set(WORKERS)
            citus.stop(COORDINATOR)
            api = Api(client)
            try:
                answers = [await api.create_task(user) for user in users]
                assert {answer.status_code for answer in answers} == {201}, errors(service)
                tasks = [answer.json()["task"] for answer in answers]
                for user, task in zip(users, tasks, strict=True):
                    assert (await api.list_tasks(user)).json() == {"tasks": [task]}
                    assert (await api.delete_task(user, task["id"])).status_code == 204
                assert (await api.log_in("a@example.com")).status_code == 503
                assert (await api.sign_up("a@example.com")).status_code == 503
            finally:
                citus.start(COORDINATOR)
            assert (await api.sign_up("a@example.com")).status_code == 201


def node_of(owner: psycopg.Connection, user_id: str) -> str:
    row = owner.execute(NODE_OF, (user_id,)).fetchone()
    assert row
    return str(row[0])


async def test_moving_shards_under_load_loses_nothing(citus: Cluster) -> None:
    with start_service(citus.url(), LOGIN_FAILURE_LIMIT="0") as service, citus.connect() as owner:
        async with load(service.url, owner) as running:
            for user in running.users[:3]:
                await asyncio.to_thread(move, citus, user.id)
        assert check(running, citus, service, "3 shards moved") <= DONE


def move(citus: Cluster, user_id: str) -> None:
    """Moves the user's shard to the other worker."""
    with citus.connect("postgres") as superuser:
        superuser.execute(MOVE, {"user": user_id, "there": list(WORKERS)})


MOVE = """
    select citus_move_shard_placement(shardid, nodename, nodeport, other, nodeport)
    from citus_shards, unnest(%(there)s::text[]) as other
    where shardid = get_shard_id_for_distribution_column('tasks', %(user)s::uuid) and other <> nodename
"""


async def test_distributing_the_tables_under_load_loses_nothing() -> None:
    with (
        cluster() as single,
        start_service(single.url(), LOGIN_FAILURE_LIMIT="0") as service,
        single.connect("postgres") as superuser,
    ):
        superuser.execute("insert into users (id) select gen_random_uuid() from generate_series(1, 1000)")
        superuser.execute(
            "insert into tasks (user_id, id, title)"
            " select users.id, gen_random_uuid(), 'old' from users, generate_series(1, 100)"
        )
        async with load(service.url, superuser) as running:
            await asyncio.sleep(3)
            *steps, last = single.steps()
            for step in steps:
                await asyncio.to_thread(single.run, step)
            began = time.monotonic()
            await asyncio.to_thread(single.run, last)
            took = time.monotonic() - began
            await asyncio.sleep(3)
        old = superuser.execute("select count(*) from tasks where title = 'old'").fetchone()
        assert check(running, single, service, "distributed at work") <= DONE | {503}
    assert old == (100_000,)
    refused = [answer for answer in running.answers if answer.status == 503]
    print(f"  sql/citus.sql took {took:.1f} s, {len(refused)} requests were answered 503")
