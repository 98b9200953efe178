"""Guessed passwords: how many, from where, and who else feels it. The limits are counted in the database."""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import bcrypt
import httpx
import psycopg
import pytest
from starlette.types import ASGIApp

from service.app import create_app
from service.auth import login_limits, passwords
from service.auth.login_limits import ADDRESS_FACTOR, WINDOW_SECONDS, log_in_keys
from service.postgres import connection_string
from service.postgres.queries import SQL
from tests.support.answers import assert_error
from tests.support.api import PASSWORD, Api, lifespan, settings

pytestmark = pytest.mark.anyio

ADA, EVE = "ada@example.com", "eve@example.com"
WRONG = "a wrong password"
LIMIT = 3


@asynccontextmanager
async def service(database_url: str, limit: int = LIMIT) -> AsyncIterator[ASGIApp]:
    async with lifespan(create_app(settings(database_url, login_failure_limit=limit))) as app:
        yield app


def client_at(app: ASGIApp, address: str) -> Api:
    """The calls of somebody whose connection comes from this address."""
    transport = httpx.ASGITransport(app, client=(address, 40_000))
    return Api(httpx.AsyncClient(transport=transport, base_url="http://api"))


@pytest.fixture
async def app(database_url: str, owner: psycopg.Connection) -> AsyncIterator[ASGIApp]:
    """The service with two accounts, whose hashes are cheap: the limits do not depend on the cost."""
    stored = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    for email in (ADA, EVE):
        owner.execute(
            "insert into users (id, email, password_hash) values (gen_random_uuid(), %s, %s)", (email, stored)
        )
    async with service(database_url) as app:
        yield app


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """A password for each bcrypt check that is made."""
    made: list[bytes] = []
    check = bcrypt.checkpw

    def counted(password: bytes, stored: bytes) -> bool:
        made.append(password)
        return check(password, stored)

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    return made


async def guess(api: Api, email: str = ADA, times: int = LIMIT, **given: Any) -> None:
    for _ in range(times):
        assert_error(await api.log_in(email, WRONG, **given), 401, "Invalid email or password")


def assert_locked(response: httpx.Response) -> int:
    """Checks the sentence; returns the seconds that it names."""
    seconds = int(response.headers["retry-after"])
    minutes = (seconds + 59) // 60
    assert_error(
        response, 429, f"Too many attempts, try again in {f'{minutes} minutes' if minutes > 1 else '1 minute'}"
    )
    return seconds


def count(owner: psycopg.Connection, sql: str) -> int:
    row = owner.execute(sql.encode()).fetchone()
    assert row
    return int(row[0])


ROWS = "select count(*) from login_attempts"


def fill_address(owner: psycopg.Connection, address: str = "192.0.2.1") -> None:
    """As many failures of the address as are allowed."""
    insert = "insert into login_attempts values (%s, %s, now() + interval '10 minutes')"
    insert += " on conflict (key) do update set attempts = excluded.attempts"
    owner.execute(insert, (log_in_keys(ADA, address)[1], LIMIT * ADDRESS_FACTOR))


async def test_over_the_limit_is_429_before_any_bcrypt(app: ASGIApp, checks: list[bytes]) -> None:
    api = client_at(app, "192.0.2.1")
    await guess(api)
    assert len(checks) == LIMIT
    for email in (ADA, " ADA@Example.com "):
        assert WINDOW_SECONDS - 60 < assert_locked(await api.log_in(email, PASSWORD)) <= WINDOW_SECONDS
    assert len(checks) == LIMIT


async def test_an_unknown_email_is_counted_like_a_known_one(app: ASGIApp) -> None:
    api = client_at(app, "192.0.2.1")
    for email in ("nobody@example.com", "no address"):
        await guess(api, email)
        assert_locked(await api.log_in(email, WRONG))


async def test_a_hundred_guesses_at_once_are_a_hundred_guesses(app: ASGIApp, checks: list[bytes]) -> None:
    api = client_at(app, "192.0.2.1")
    answers = await asyncio.gather(*(api.log_in(ADA, f"guess number {number}") for number in range(100)))
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(401), statuses.count(429)) == (LIMIT, 100 - LIMIT)
    assert len(checks) == LIMIT


async def test_a_success_clears_the_count_of_the_account_alone(app: ASGIApp) -> None:
    api = client_at(app, "192.0.2.1")
    await guess(api, EVE, LIMIT)
    for _ in range(2):
        await guess(api, ADA, LIMIT - 1)
        assert (await api.log_in(ADA)).status_code == 200
    assert_locked(await api.log_in(EVE))


async def test_successes_are_no_failures_of_the_address(app: ASGIApp, owner: psycopg.Connection) -> None:
    api = client_at(app, "192.0.2.1")
    await guess(api, EVE, 1)
    for _ in range(4):
        assert (await api.log_in(ADA)).status_code == 200
    counts = "select attempts from login_attempts where attempts > 0"
    assert owner.execute(counts).fetchall() == [(1,), (1,)]


async def test_nobody_locks_another_out_from_elsewhere(app: ASGIApp) -> None:
    await guess(client_at(app, "192.0.2.1"))
    assert_locked(await client_at(app, "192.0.2.1").log_in(ADA))
    assert (await client_at(app, "192.0.2.2").log_in(ADA)).status_code == 200
    assert_locked(await client_at(app, "192.0.2.1").log_in(ADA))


async def test_an_address_has_a_wider_limit_over_all_accounts(app: ASGIApp, owner: psycopg.Connection) -> None:
    api = client_at(app, "192.0.2.1")
    fill_address(owner)
    owner.execute("update login_attempts set attempts = attempts - 1")
    await guess(api, "somebody@example.com", 1)
    assert_locked(await api.log_in(ADA))
    assert (await client_at(app, "192.0.2.2").log_in(ADA)).status_code == 200


async def test_over_the_limit_no_row_is_new(app: ASGIApp, owner: psycopg.Connection) -> None:
    """Before, each refused log-in for another account added a row."""
    api = client_at(app, "192.0.2.1")
    fill_address(owner)
    for number in range(20):
        assert_locked(await api.log_in(f"nobody{number}@example.com", WRONG))
    assert count(owner, ROWS) == 1


async def test_a_pair_that_has_logged_in_before_gets_through_its_addresss_limit(
    app: ASGIApp, owner: psycopg.Connection
) -> None:
    office = client_at(app, "192.0.2.1")
    assert (await office.log_in(ADA)).status_code == 200
    fill_address(owner)
    for _ in range(3):
        assert (await office.log_in(ADA)).status_code == 200
    assert_locked(await office.log_in(EVE))
    fill_address(owner, "192.0.2.2")
    assert_locked(await client_at(app, "192.0.2.2").log_in(ADA))


async def test_such_a_pair_keeps_its_own_limit_and_takes_nothing_off_the_addresss(
    app: ASGIApp, owner: psycopg.Connection, checks: list[bytes]
) -> None:
    """Else a person of the office could guess without end: each own log-in would make room for a guess."""
    office = client_at(app, "192.0.2.1")
    assert (await office.log_in(ADA)).status_code == 200
    fill_address(owner)
    for _ in range(3):
        assert (await office.log_in(ADA)).status_code == 200
    assert_locked(await office.log_in("nobody@example.com", WRONG))
    await guess(office, ADA, LIMIT)
    checks.clear()
    assert_locked(await office.log_in(ADA))
    assert not checks


async def test_a_pair_is_remembered_for_ninety_days(app: ASGIApp, owner: psycopg.Connection) -> None:
    office = client_at(app, "192.0.2.1")
    assert (await office.log_in(ADA)).status_code == 200
    left = "select max(extract(days from expires_at - now())) from login_attempts where attempts = 0"
    assert count(owner, left) == 89
    fill_address(owner)
    owner.execute("update login_attempts set expires_at = now() - interval '1 second' where attempts = 0")
    assert_locked(await office.log_in(ADA))


async def test_what_is_refused_for_want_of_room_is_counted_for_nobody(
    app: ASGIApp, owner: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before, 201 log-ins at once locked a whole office out."""
    monkeypatch.setattr(passwords, "QUEUE", 0)
    monkeypatch.setattr(passwords, "FULL_SECONDS", 0.0)
    monkeypatch.setattr(bcrypt, "checkpw", lambda *_: time.sleep(0.1))
    api = client_at(app, "192.0.2.1")
    answers = await asyncio.gather(*(api.log_in(f"nobody{number}@example.com", WRONG) for number in range(40)))
    failed = [answer.status_code for answer in answers].count(401)
    assert 0 < failed < 20
    assert count(owner, "select max(attempts) from login_attempts") == failed
    assert count(owner, "select count(*) from login_attempts where attempts > 0") == failed + 1


async def test_what_is_refused_counts_no_further_for_the_address(app: ASGIApp, owner: psycopg.Connection) -> None:
    """Else one stubborn client locks its whole office out."""
    api = client_at(app, "192.0.2.1")
    await guess(api)
    for _ in range(LIMIT * ADDRESS_FACTOR):
        assert_locked(await api.log_in(ADA, WRONG))
    assert (await api.log_in(EVE)).status_code == 200


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True), ("2001:db8:1:2::1", "2001:DB8:1:2::1", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False), ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False), ("192.0.2.1", "192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
    ],
)  # fmt: skip
async def test_what_is_one_address(app: ASGIApp, one: str, other: str, same: bool) -> None:
    """Whoever has an IPv6 address has 64 bits of them."""
    await guess(client_at(app, one))
    assert (await client_at(app, other).log_in(ADA)).status_code == (429 if same else 200)


async def test_the_count_ends_with_its_window(app: ASGIApp, owner: psycopg.Connection) -> None:
    api = client_at(app, "192.0.2.1")
    await guess(api)
    owner.execute("update login_attempts set expires_at = now() + interval '5 seconds'")
    assert 1 <= assert_locked(await api.log_in(ADA)) <= 5, "another attempt does not lengthen the wait"
    owner.execute("update login_attempts set expires_at = now() - interval '1 millisecond'")
    await guess(api)
    assert assert_locked(await api.log_in(ADA)) > WINDOW_SECONDS - 60


async def test_what_has_expired_is_swept_by_a_failure(
    app: ASGIApp, owner: psycopg.Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await guess(client_at(app, "192.0.2.1"), EVE, 1)
    owner.execute("update login_attempts set expires_at = now() - interval '2 minutes'")
    monkeypatch.setattr(login_limits, "SWEEP_SECONDS", 0.0)
    async with service(database_url) as another:
        await guess(client_at(another, "192.0.2.2"), EVE, 1)
    assert count(owner, "select count(*) from login_attempts where expires_at < now()") == 0


async def test_two_services_share_the_count(app: ASGIApp, database_url: str) -> None:
    async with service(database_url) as second:
        await guess(client_at(app, "192.0.2.1"), times=LIMIT - 1)
        await guess(client_at(second, "192.0.2.1"), times=1)
        for each in (app, second):
            assert_locked(await client_at(each, "192.0.2.1").log_in(ADA))


async def test_sign_ups_that_fail_are_counted_by_address(app: ASGIApp, owner: psycopg.Connection) -> None:
    owner.execute("insert into login_attempts values (%s, 1, now())", (b"expired",))
    api = client_at(app, "192.0.2.1")
    assert (await api.sign_up("new@example.com")).status_code == 201
    assert_error(await api.sign_up(ADA), 409, "Email already registered")
    assert count(owner, "select sum(attempts) from login_attempts where expires_at > now()") == 1
    owner.execute("update login_attempts set attempts = %s where expires_at > now()", (LIMIT * ADDRESS_FACTOR,))
    rows = count(owner, ROWS)
    for number in range(5):
        assert_locked(await api.sign_up(f"new{number}@example.com"))
    assert count(owner, ROWS) == rows
    assert (await client_at(app, "192.0.2.2").sign_up("other@example.com")).status_code == 201
    assert (await api.log_in(EVE)).status_code == 200


async def test_zero_turns_every_limit_off(app: ASGIApp, database_url: str, owner: psycopg.Connection) -> None:
    await guess(client_at(app, "192.0.2.1"))
    owner.execute("update login_attempts set attempts = 1000000")
    async with service(database_url, limit=0) as unlimited:
        api = client_at(unlimited, "192.0.2.1")
        await guess(api, times=LIMIT + 1)
        assert_error(await api.sign_up(ADA), 409, "Email already registered")
    assert count(owner, "select count(*) from login_attempts where attempts < 1000000") == 0


async def test_guesses_and_successes_at_once_never_wait_for_each_other(
    owner: psycopg.Connection, owner_url: str
) -> None:
    """A deadlock in the database is a second lost, and an attempt counted twice."""

    async def guess_and_succeed(pool: asyncpg.Pool, number: int) -> None:
        account = b"account %d" % (number % 2)
        for _ in range(60):
            await pool.fetchrow(SQL.count_log_in.sql, account, b"address", b"known" + account, 10, 200, 900.0)
            await pool.fetchrow(SQL.take_back_attempt.sql, account, b"address")
            await pool.fetchrow(SQL.count_log_in.sql, account, b"address", b"known" + account, 10, 200, 900.0)
            await pool.fetchrow(SQL.clear_attempts.sql, account, b"address", b"known" + account, 900.0)
            await pool.fetchrow(SQL.sweep_attempts.sql)

    async with (
        asyncpg.create_pool(**connection_string.parse(owner_url).connect, min_size=8, max_size=8) as pool,
        asyncio.TaskGroup() as group,
    ):
        for number in range(8):
            group.create_task(guess_and_succeed(pool, number))
    count = "select deadlocks from pg_stat_database where datname = current_database()"
    assert owner.execute(count).fetchone() == (0,)


async def test_failures_are_logged_with_address_and_reason_alone(
    app: ASGIApp, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    api = client_at(app, "192.0.2.1")
    await guess(api, ADA, LIMIT)
    await guess(api, "nobody@example.com", 1)
    await guess(api, "no address", 1)
    assert_locked(await api.log_in(ADA, WRONG))
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("service")]
    assert lines == [
        *["log-in refused from 192.0.2.1: wrong password"] * LIMIT,
        *["log-in refused from 192.0.2.1: unknown e-mail"] * 2,
        "log-in refused from 192.0.2.1: too many attempts",
    ]
    assert not re.search(f"{WRONG}|ada@|nobody@|no address", caplog.text)
