"""The pool: one deadline for all waiting, no idle connections, and no lost places."""

import asyncio
import time
from collections.abc import AsyncIterator
from uuid import uuid4

import psycopg
import pytest

from service.errors import ApiError
from service.postgres import pool as pool_module
from service.postgres import retry
from service.postgres.pool import ACCOUNTS, POOL_SIZE, Pool, deadline_after
from service.postgres.queries import Query
from tests.support.answers import assert_error
from tests.support.api import serve, settings
from tests.support.postgres_proxy import Moment, PostgresProxy

pytestmark = pytest.mark.anyio

SIZE = 3
BACKEND_PID = Query("backend_pid", "-- name: backend_pid\nselect pg_backend_pid() as pid, $1::text, pg_sleep($2)::text")


@pytest.fixture
async def pool(proxy: PostgresProxy) -> AsyncIterator[Pool]:
    pool = Pool(proxy.url(), SIZE)
    yield pool
    await pool.close()


async def backend_pid(pool: Pool, sleep: float = 0.0, seconds: float = 5.0, account: str = "") -> int:
    """The pid of the server process that answered. Without `account`, each request belongs to a new account."""
    row = await pool.fetch_one(BACKEND_PID, account or str(uuid4()), sleep, deadline=deadline_after(seconds))
    return int(row["pid"])


async def assert_pool_complete(pool: Pool) -> None:
    """The pool can open all its connections, and no more."""
    assert len(set(await asyncio.gather(*(backend_pid(pool, 0.2) for _ in range(SIZE + 2))))) == SIZE
    assert (len(pool.busy), len(pool.waiting)) == (0, 0)


async def refused(call: asyncio.Future[int]) -> bool:
    """Whether the answer is 503."""
    try:
        await call
    except ApiError as error:
        return error.status == 503 and "Retry-After" in (error.headers or {})
    return False


def begin(pool: Pool, count: int, sleep: float, seconds: float = 5.0) -> list[asyncio.Future[int]]:
    return [asyncio.ensure_future(backend_pid(pool, sleep, seconds)) for _ in range(count)]


async def test_idle_connections_are_closed(pool: Pool, proxy: PostgresProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    await assert_pool_complete(pool)
    assert proxy.open == SIZE
    monkeypatch.setattr(pool_module, "IDLE_SECONDS", 0.3)
    while proxy.open:
        await asyncio.sleep(0.05)
    await assert_pool_complete(pool)


async def test_a_busy_pool_closes_the_connections_that_it_does_not_need(
    pool: Pool, proxy: PostgresProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    await assert_pool_complete(pool)
    monkeypatch.setattr(pool_module, "IDLE_SECONDS", 0.3)
    for _ in range(12):
        await backend_pid(pool)
        await asyncio.sleep(0.05)
    assert proxy.open == 1


async def test_a_request_that_waits_beyond_its_deadline_is_503(pool: Pool) -> None:
    working = begin(pool, SIZE, 1.5)
    await asyncio.sleep(0.1)
    started = time.monotonic()
    late, patient = begin(pool, 1, 0, seconds=0.2), begin(pool, 1, 0)
    assert await refused(late[0])
    assert time.monotonic() - started > 0.1
    assert not any(call.done() for call in working)
    assert await patient[0] in [await call for call in working]
    await assert_pool_complete(pool)


async def test_a_statement_that_runs_beyond_its_deadline_is_503(pool: Pool) -> None:
    started = time.monotonic()
    calls = begin(pool, SIZE, 2, seconds=0.3)
    assert all([await refused(call) for call in calls])
    assert time.monotonic() - started > 0.2
    await assert_pool_complete(pool)


async def test_a_connection_that_hangs_is_503(pool: Pool, proxy: PostgresProxy) -> None:
    await assert_pool_complete(pool)
    proxy.silent = True
    calls = begin(pool, 2 * SIZE, 0, seconds=0.3)
    assert all([await refused(call) for call in calls])
    # The pool has closed those connections: now the connection attempts hang.
    calls = begin(pool, 2 * SIZE, 0, seconds=0.3)
    assert all([await refused(call) for call in calls])
    proxy.silent = False
    await assert_pool_complete(pool)


async def test_while_the_database_hangs_requests_are_503_after_five_seconds(
    proxy: PostgresProxy, owner: psycopg.Connection
) -> None:
    async with serve(settings(proxy.url()), owner) as api:
        user = api.user()
        await api.list_tasks(user)
        proxy.silent = True
        started = time.monotonic()
        answer, health = asyncio.ensure_future(api.list_tasks(user)), await api.get("/health")
        assert (health.status_code, health.json()) == (503, {"status": "unhealthy"})
        assert not answer.done()
        assert_error(await answer, 503, "Service temporarily unavailable")
        assert 4.9 <= time.monotonic() - started < 15
        proxy.silent = False
        assert (await api.list_tasks(user)).status_code == 200


async def test_the_server_cancels_a_statement_that_was_given_up(
    proxy: PostgresProxy, owner: psycopg.Connection
) -> None:
    waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    async with serve(settings(proxy.url()), owner) as api:
        user = api.user()
        await api.list_tasks(user)
        with owner.transaction():
            owner.execute("lock table tasks in access exclusive mode")
            answer = asyncio.ensure_future(api.list_tasks(user))
            for count in (1, 0):
                while owner.execute(waiting).fetchone() != (count,):
                    await asyncio.sleep(0.1)
                    owner.execute("select pg_stat_clear_snapshot()")
            assert_error(await answer, 503, "Service temporarily unavailable")
        assert (await api.list_tasks(user)).status_code == 200


@pytest.mark.parametrize("first", ["login_attempts", "token_cutoffs"])
async def test_all_waits_of_a_request_have_one_deadline(
    proxy: PostgresProxy, owner: psycopg.Connection, owner_url: str, first: str
) -> None:
    """The first statement, for a token its check, waits four seconds for a lock; the second would wait for another
    lock for five."""
    async with serve(settings(proxy.url()), owner) as api:
        user = api.user()
        with psycopg.connect(owner_url) as before, psycopg.connect(owner_url) as after:
            before.execute(f"lock table {first} in access exclusive mode".encode())
            after.execute("lock table users, tasks in access exclusive mode")
            started = time.monotonic()
            call = api.list_tasks(user) if first == "token_cutoffs" else api.log_in("ada@example.com")
            answer = asyncio.ensure_future(call)
            await asyncio.sleep(4)
            before.commit()
            assert_error(await answer, 503, "Service temporarily unavailable")
            assert 4.9 <= time.monotonic() - started < 8


async def test_a_token_does_not_wait_for_the_check_of_others(
    proxy: PostgresProxy, owner: psycopg.Connection, owner_url: str
) -> None:
    """The check of the second token starts when that of the first has ended, after five seconds."""
    async with serve(settings(proxy.url()), owner) as api:
        with psycopg.connect(owner_url) as cutoffs:
            cutoffs.execute("lock table token_cutoffs in access exclusive mode")
            first = asyncio.ensure_future(api.list_tasks(api.user()))
            await asyncio.sleep(2)
            started = time.monotonic()
            assert_error(await api.list_tasks(api.user()), 503, "Service temporarily unavailable")
            assert 4.9 <= time.monotonic() - started < 7.5
            assert_error(await first, 503, "Service temporarily unavailable")


async def test_the_time_in_which_a_body_arrives_does_not_count(
    proxy: PostgresProxy, owner: psycopg.Connection, owner_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "REQUEST_SECONDS", 1.0)

    async def slowly() -> AsyncIterator[bytes]:
        yield b'{"title": '
        await asyncio.sleep(1.5)
        yield b'"Buy milk"}'

    async with serve(settings(proxy.url()), owner) as api:
        user = api.user()
        created = await api.client.post("/api/tasks", headers=user.headers, content=slowly())
        assert created.status_code == 201
        with psycopg.connect(owner_url) as tasks:
            tasks.execute("lock table tasks in access exclusive mode")
            assert (await api.client.post("/api/tasks", headers=user.headers, content=slowly())).status_code == 503


async def test_a_refused_connection_is_503_at_once_until_the_database_is_back(pool: Pool, proxy: PostgresProxy) -> None:
    await backend_pid(pool)
    await proxy.refuse()
    proxy.drop()
    started = time.monotonic()
    calls = begin(pool, 3 * SIZE, 0)
    assert all([await refused(call) for call in calls])
    assert time.monotonic() - started < 4
    await proxy.listen()
    await assert_pool_complete(pool)


async def test_a_connection_attempt_that_breaks_off_is_retried(pool: Pool, proxy: PostgresProxy) -> None:
    proxy.silent = True
    call = begin(pool, 1, 0)[0]
    await asyncio.sleep(0.1)
    proxy.silent = False
    proxy.drop()
    assert await call
    await assert_pool_complete(pool)


async def test_a_database_that_is_not_there_is_503(proxy: PostgresProxy, caplog: pytest.LogCaptureFixture) -> None:
    pool = Pool(proxy.url(dbname="no_such_database"), SIZE)
    calls = begin(pool, 2 * SIZE, 0)
    assert all([await refused(call) for call in calls])
    assert "no connection to the database" in caplog.text
    await pool.close()


@pytest.mark.parametrize("moment", [0.0, 0.002, 0.01, 0.1, 0.3])
async def test_cancelled_requests_release_their_connections(pool: Pool, moment: float) -> None:
    """At these moments they connect, prepare, run, wait for a connection, or have just got one."""
    calls = begin(pool, 3 * SIZE, 0.3)
    await asyncio.sleep(moment)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert all(call.cancelled() for call in calls)
    await assert_pool_complete(pool)


@pytest.mark.parametrize("with_connection", [True, False])
async def test_a_request_cancelled_when_it_gets_its_connection_passes_it_on(
    pool: Pool, proxy: PostgresProxy, with_connection: bool
) -> None:
    working = begin(pool, SIZE, 0.2 if with_connection else 5, seconds=0.2 if not with_connection else 5)
    await asyncio.sleep(0.05)
    waiting = begin(pool, 2, 0)
    await asyncio.sleep(0.01)
    # Called when the first working request is done: before the waiting request that gets its connection resumes.
    working[0].add_done_callback(lambda _: waiting[0].cancel())
    await asyncio.gather(*working, *waiting, return_exceptions=True)
    assert await waiting[1]
    await assert_pool_complete(pool)


async def test_requests_cancelled_during_connection_attempts_leave_the_pool_complete(
    pool: Pool, proxy: PostgresProxy
) -> None:
    proxy.silent = True
    calls = begin(pool, SIZE, 0)
    for _ in range(3):
        await asyncio.sleep(0.05)
        proxy.drop()
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    proxy.silent = False
    await assert_pool_complete(pool)


async def test_requests_are_retried_when_all_connections_are_cut(pool: Pool, proxy: PostgresProxy) -> None:
    await assert_pool_complete(pool)
    proxy.cut("backend_pid", Moment.AFTER, times=SIZE)
    await asyncio.gather(*(backend_pid(pool) for _ in range(4 * SIZE)))
    assert not proxy.cuts_left
    await assert_pool_complete(pool)


async def test_closing_the_pool_does_not_wait_for_a_dead_server(proxy: PostgresProxy) -> None:
    pool = Pool(proxy.url(), SIZE)
    await assert_pool_complete(pool)
    proxy.silent = True
    started = time.monotonic()
    await pool.close()
    assert time.monotonic() - started < 5


async def test_an_account_uses_at_most_its_share_of_the_connections(proxy: PostgresProxy) -> None:
    pool = Pool(proxy.url())
    greedy = [asyncio.ensure_future(backend_pid(pool, 0.1, account="greedy")) for _ in range(POOL_SIZE)]
    assert len(set(await asyncio.gather(*greedy))) == POOL_SIZE // ACCOUNTS
    await pool.close()


async def test_an_account_with_many_requests_delays_only_its_own(pool: Pool) -> None:
    """All connections are in use, and 60 requests of one account wait: the other accounts' requests come next."""
    ended: list[str] = []

    async def run(account: str) -> None:
        await backend_pid(pool, 0.05, account=account)
        ended.append(account)

    others = [f"other {number}" for number in range(SIZE)]
    working = begin(pool, SIZE, 0.2)
    await asyncio.sleep(0.1)
    requests = [asyncio.ensure_future(run(account)) for account in ["greedy"] * 60 + others]
    await asyncio.gather(*working, *requests)
    assert all(ended.index(account) <= 2 * SIZE for account in others), ended
    await assert_pool_complete(pool)


async def test_cancelled_waiting_requests_do_not_delay_the_next_one(pool: Pool) -> None:
    working = begin(pool, SIZE, 0.3)
    await asyncio.sleep(0.1)
    waiting = [asyncio.ensure_future(backend_pid(pool, account="same")) for _ in range(2000)]
    await asyncio.sleep(0)
    for call in waiting[:-1]:
        call.cancel()
    assert await asyncio.wait_for(waiting[-1], 3)
    await asyncio.gather(*working, *waiting, return_exceptions=True)
    await assert_pool_complete(pool)


async def test_health_does_not_wait_for_other_requests(proxy: PostgresProxy, owner: psycopg.Connection) -> None:
    async with serve(settings(proxy.url()), owner) as api:
        users = [api.user() for _ in range(2 * POOL_SIZE)]
        with owner.transaction():
            owner.execute("lock table tasks in access exclusive mode")
            calls = [asyncio.ensure_future(api.list_tasks(user)) for user in users]
            await asyncio.sleep(0.5)
            sent = proxy.sent["ping"]
            answers = await asyncio.gather(*(api.get("/health") for _ in range(100)))
            assert {answer.status_code for answer in answers} == {200}
            # Requests that come while a ping runs share its answer.
            assert proxy.sent["ping"] - sent < 50
        assert {answer.status_code for answer in await asyncio.gather(*calls)} == {200}
        assert proxy.open <= POOL_SIZE + 1


async def test_head_of_the_task_list_sends_no_statement(proxy: PostgresProxy, owner: psycopg.Connection) -> None:
    async with serve(settings(proxy.url()), owner) as api:
        user = api.user()
        head = await api.request("HEAD", "/api/tasks", user)
        assert (head.status_code, head.content, head.headers["content-type"]) == (200, b"", "application/json")
        assert_error(await api.get("/api/tasks"), 401, "Unauthorized")
        assert (await api.request("HEAD", "/api/tasks")).status_code == 401
        assert not proxy.sent["list_tasks"]


async def test_writes_reach_the_new_primary_after_a_failover(
    proxy: PostgresProxy, owner: psycopg.Connection, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read-only session stands for the old primary, a new session for the new primary."""
    monkeypatch.setattr(retry, "READ_ONLY_SECONDS", 1.0)
    owner.execute(f"alter database {database_name} set default_transaction_read_only = on".encode())
    async with serve(settings(proxy.url()), owner) as api:
        user = api.user()
        for _ in range(20):
            assert_error(await api.create_task(user), 503, "Service temporarily unavailable")
        assert (await api.list_tasks(user)).status_code == 200
        assert proxy.opened == 1
        owner.execute(f"alter database {database_name} reset default_transaction_read_only".encode())
        await asyncio.sleep(1)
        assert (await api.create_task(user)).status_code == 201
        assert proxy.opened == 2
