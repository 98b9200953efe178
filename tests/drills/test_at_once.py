"""A hundred simultaneous requests to three workers: one key makes one task, and one version is changed once."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator

import httpx
import psycopg
import pytest

from tests.support.answers import check
from tests.support.api import BROWSER, User, insert_user
from tests.support.databases import Template
from tests.support.postgres_proxy import Moment, postgres_proxy
from tests.support.service_process import ServiceProcess, start_service

pytestmark = pytest.mark.anyio

AT_ONCE = 100
ROUNDS = 20


@pytest.fixture
def workers(database_url: str) -> Iterator[ServiceProcess]:
    with start_service(database_url, WORKERS="3") as service:
        yield service


@pytest.fixture
async def clients(workers: ServiceProcess) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Each has its own connection, so that the system distributes them over the workers."""
    clients = [httpx.AsyncClient(base_url=workers.url, headers=BROWSER, timeout=60) for _ in range(AT_ONCE)]
    yield clients
    await asyncio.gather(*(client.aclose() for client in clients))


@pytest.fixture
def user(owner: psycopg.Connection) -> User:
    return insert_user(owner)


async def create(clients: list[httpx.AsyncClient], user: User, key: str) -> list[httpx.Response]:
    headers = user.headers | {"Idempotency-Key": key}
    body = {"title": "Buy milk", "description": key}
    answers = await asyncio.gather(*(client.post("/api/tasks", headers=headers, json=body) for client in clients))
    for answer in answers:
        check(answer)
    return answers


def assert_one_task(answers: list[httpx.Response], owner: psycopg.Connection, key: str) -> None:
    assert {answer.status_code for answer in answers} == {201}
    assert len({(answer.content, answer.headers["etag"]) for answer in answers}) == 1
    assert owner.execute("select count(*) from tasks where description = %s", (key,)).fetchone() == (1,)


async def test_one_key_makes_one_task(clients: list[httpx.AsyncClient], user: User, owner: psycopg.Connection) -> None:
    for _ in range(ROUNDS):
        key = str(uuid.uuid4())
        assert_one_task(await create(clients, user, key), owner, key)


async def test_one_version_is_changed_once(
    clients: list[httpx.AsyncClient], user: User, owner: psycopg.Connection
) -> None:
    made = (await create(clients[:1], user, "task"))[0]
    path = f"/api/tasks/{made.json()['task']['id']}"
    for _ in range(ROUNDS):
        headers = user.headers | {"If-Match": made.headers["etag"]}
        answers = await asyncio.gather(
            *(client.put(path, headers=headers, json={"title": f"Task {n}"}) for n, client in enumerate(clients))
        )
        for answer in answers:
            check(answer)
        assert sorted(answer.status_code for answer in answers) == [200] + [412] * (AT_ONCE - 1)
        (made,) = [answer for answer in answers if answer.status_code == 200]
        assert {answer.headers["etag"] for answer in answers} == {made.headers["etag"]}
        assert (await clients[0].get(path, headers=user.headers)).content == made.content


@pytest.mark.parametrize("moment", [Moment.BEFORE, Moment.AFTER])
@pytest.mark.parametrize("limit", ["0", "10000"])
async def test_one_key_makes_one_task_when_connections_are_lost(
    template: Template, database_name: str, owner: psycopg.Connection, user: User, limit: str, moment: Moment
) -> None:
    async with postgres_proxy(template._replace(pooler="").service_url(database_name)) as proxy:
        with start_service(proxy.url(), WORKERS="3", TASK_LIMIT=limit) as service:
            clients = [httpx.AsyncClient(base_url=service.url, headers=BROWSER, timeout=60) for _ in range(AT_ONCE)]
            for _ in range(5):
                key = str(uuid.uuid4())
                proxy.cut("create_task_checked", moment)
                assert_one_task(await create(clients, user, key), owner, key)
                assert not proxy.cuts_left
            await asyncio.gather(*(client.aclose() for client in clients))
