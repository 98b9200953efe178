"""TASK_LIMIT: the maximum number of an account's tasks."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from service.task_limit import REMEMBERED_ACCOUNTS, TaskLimit
from tests.support.answers import assert_error
from tests.support.api import Api, User, serve, settings

pytestmark = pytest.mark.anyio

REACHED = "You cannot have more than 3 tasks"


@pytest.fixture
async def limited(database_url: str, owner: psycopg.Connection) -> AsyncIterator[Api]:
    async with serve(settings(database_url, task_limit=3), owner) as api:
        yield api


def insert_tasks(owner: psycopg.Connection, user: User, count: int) -> None:
    owner.execute(
        "insert into tasks (user_id, id, title) select %s, gen_random_uuid(), 'Task' from generate_series(1, %s)",
        (user.id, count),
    )


async def test_a_create_beyond_the_limit_is_403(limited: Api) -> None:
    user, other = limited.user(), limited.user()
    tasks = [await limited.task(user) for _ in range(3)]
    for _ in range(2):
        assert_error(await limited.create_task(user), 403, REACHED)
    assert (await limited.create_task(other)).status_code == 201
    assert (await limited.update_task(user, tasks[0]["id"], title="Other")).status_code == 200
    await limited.delete_task(user, tasks[1]["id"])
    assert (await limited.create_task(user)).status_code == 201
    assert_error(await limited.create_task(user), 403, REACHED)


async def test_repeating_a_create_at_the_limit_is_no_403(limited: Api) -> None:
    user = limited.user()
    first = await limited.create_task(user, key="k1")
    for key in ("k2", "k3"):
        assert (await limited.create_task(user, key=key)).status_code == 201
    again = await limited.create_task(user, key="k1")
    assert (again.status_code, again.content) == (201, first.content)
    assert (await limited.create_task(user, key="k1", title="Other")).status_code == 422
    assert_error(await limited.create_task(user, key="k4"), 403, REACHED)
    assert len((await limited.list_tasks(user)).json()["tasks"]) == 3


async def test_concurrent_creates_exceed_the_limit_by_at_most_the_pool_size(limited: Api) -> None:
    user = limited.user()
    answers = await asyncio.gather(*(limited.create_task(user) for _ in range(60)))
    made = sum(answer.status_code == 201 for answer in answers)
    assert 3 <= made <= 3 + 10, "the pool has ten connections"
    assert {answer.status_code for answer in answers} == {201, 403}
    assert_error(await limited.create_task(user), 403, REACHED)


async def test_one_worker_keeps_a_large_limit_exactly_and_the_message_has_commas(
    database_url: str, owner: psycopg.Connection
) -> None:
    async with serve(settings(database_url, task_limit=1_200), owner) as api:
        user = api.user()
        assert (await api.create_task(user)).status_code == 201
        insert_tasks(owner, user, 1_195)
        answers = [await api.create_task(user) for _ in range(6)]
        assert [answer.status_code for answer in answers] == [201] * 4 + [403] * 2
        assert_error(answers[-1], 403, "You cannot have more than 1,200 tasks")


async def test_a_task_limit_of_0_is_no_limit(database_url: str, owner: psycopg.Connection) -> None:
    async with serve(settings(database_url, task_limit=0), owner) as api:
        user = api.user()
        insert_tasks(owner, user, 10_500)
        assert (await api.create_task(user)).status_code == 201


async def test_the_default_task_limit_is_10000(api: Api, owner: psycopg.Connection) -> None:
    user = api.user()
    insert_tasks(owner, user, 10_000)
    assert_error(await api.create_task(user), 403, "You cannot have more than 10,000 tasks")


def test_creates_are_counted_rarely_far_below_the_limit_and_always_close_to_it() -> None:
    limit, held, counts = TaskLimit(10_000), 0, []
    while held < 10_000:
        if limit.needs_count("ada"):
            counts.append(held)
            limit.counted("ada", held)
        held += 1
    assert sum(count < 1_000 for count in counts) < 60
    assert counts[-240:] == list(range(9_760, 10_000))
    assert limit.needs_count("ada")
    assert not any(TaskLimit(0).needs_count("ada") for _ in range(3))


def test_the_number_of_remembered_counts_is_bounded() -> None:
    limit = TaskLimit(10_000)
    for account in range(REMEMBERED_ACCOUNTS + 100):
        limit.counted(str(account), 0)
    assert len(limit._uncounted) <= REMEMBERED_ACCOUNTS
    assert limit.needs_count("0")
    assert not limit.needs_count(str(REMEMBERED_ACCOUNTS))
