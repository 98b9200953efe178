"""Limits on guessed passwords, for each account and address. The counts are in the database."""

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
    """A client whose connections come from this address."""
    transport = httpx.ASGITransport(app, client=(address, 40_000))
    return Api(httpx.AsyncClient(transport=transport, base_url="http://api"))


@pytest.fixture
async def app(database_url: str, owner: psycopg.Connection) -> AsyncIterator[ASGIApp]:
    """The service with two accounts. Their hashes have a low cost, which the limits do not depend on."""
    stored = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    for email in (ADA, EVE):
        owner.execute(
            "insert into users (id, email, password_hash) values (gen_random_uuid(), %s, %s)", (email, stored)
        )
    async with service(database_url) as app:
        yield app


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The password of each bcrypt check, in order."""
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
    """Checks the error message; returns the seconds in it."""
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
    """Inserts as many failures for the address as are allowed."""
    insert = "insert into login_attempts values (%s, %s, now() + interval '10 minutes')"
    insert += " on conflict (key) do update set attempts = excluded.attempts"
    owner.execute(insert, (log_in_keys(ADA, address)[1], LIMIT * ADDRESS_FACTOR))


async def test_a_log_in_over_the_limit_is_429_without_a_bcrypt_check(app: ASGIApp, checks: list[bytes]) -> None:
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


async def test_concurrent_guesses_are_all_counted(app: ASGIApp, checks: list[bytes]) -> None:
    api = client_at(app, "192.0.2.1")
    answers = await asyncio.gather(*(api.log_in(ADA, f"guess number {number}") for number in range(40)))
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(401), statuses.count(429)) == (LIMIT, 40 - LIMIT)
    assert len(checks) == LIMIT


async def test_a_successful_log_in_clears_only_the_count_of_its_account(app: ASGIApp) -> None:
    api = client_at(app, "192.0.2.1")
    await guess(api, EVE, LIMIT)
    for _ in range(2):
        await guess(api, ADA, LIMIT - 1)
        assert (await api.log_in(ADA)).status_code == 200
    assert_locked(await api.log_in(EVE))


async def test_successful_log_ins_do_not_count_for_the_address(app: ASGIApp, owner: psycopg.Connection) -> None:
    api = client_at(app, "192.0.2.1")
    await guess(api, EVE, 1)
    for _ in range(4):
        assert (await api.log_in(ADA)).status_code == 200
    counts = "select attempts from login_attempts where attempts > 0"
    assert owner.execute(counts).fetchall() == [(1,), (1,)]


async def test_failures_from_one_address_do_not_lock_the_account_for_another(app: ASGIApp) -> None:
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


async def test_a_refused_log_in_adds_no_row(app: ASGIApp, owner: psycopg.Connection) -> None:
    """Otherwise each refused log-in with a new e-mail would add a row."""
    api = client_at(app, "192.0.2.1")
    fill_address(owner)
    for number in range(20):
        assert_locked(await api.log_in(f"nobody{number}@example.com", WRONG))
    assert count(owner, ROWS) == 1


async def test_a_known_account_may_log_in_although_its_address_is_over_the_limit(
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


async def test_a_known_account_keeps_its_own_limit_and_does_not_reset_the_address(
    app: ASGIApp, owner: psycopg.Connection, checks: list[bytes]
) -> None:
    """Otherwise a user could guess without limit: each log-in to the own account would permit another guess."""
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


async def test_a_pair_of_account_and_address_is_remembered_for_90_days(app: ASGIApp, owner: psycopg.Connection) -> None:
    office = client_at(app, "192.0.2.1")
    assert (await office.log_in(ADA)).status_code == 200
    left = "select max(extract(days from expires_at - now())) from login_attempts where attempts = 0"
    assert count(owner, left) == 89
    fill_address(owner)
    owner.execute("update login_attempts set expires_at = now() - interval '1 second' where attempts = 0")
    assert_locked(await office.log_in(ADA))


async def test_log_ins_refused_by_a_full_queue_are_not_counted(
    app: ASGIApp, owner: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise 201 log-ins at once would lock an address that many users share."""
    monkeypatch.setattr(passwords, "QUEUE", 0)
    monkeypatch.setattr(passwords, "FULL_SECONDS", 0.0)
    monkeypatch.setattr(bcrypt, "checkpw", lambda *_: time.sleep(0.1))
    api = client_at(app, "192.0.2.1")
    answers = await asyncio.gather(*(api.log_in(f"nobody{number}@example.com", WRONG) for number in range(40)))
    failed = [answer.status_code for answer in answers].count(401)
    assert 0 < failed < 20
    assert count(owner, "select max(attempts) from login_attempts") == failed
    assert count(owner, "select count(*) from login_attempts where attempts > 0") == failed + 1


async def test_refused_log_ins_do_not_count_for_the_address(app: ASGIApp, owner: psycopg.Connection) -> None:
    """Otherwise one client that repeats its log-ins would lock an address that many users share."""
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
async def test_an_ipv6_network_of_64_bits_counts_as_one_address(app: ASGIApp, one: str, other: str, same: bool) -> None:
    """A client with an IPv6 address usually has a whole network of 64 bits."""
    await guess(client_at(app, one))
    assert (await client_at(app, other).log_in(ADA)).status_code == (429 if same else 200)


async def test_the_failure_count_expires_with_its_window(app: ASGIApp, owner: psycopg.Connection) -> None:
    api = client_at(app, "192.0.2.1")
    await guess(api)
    owner.execute("update login_attempts set expires_at = now() + interval '5 seconds'")
    assert 1 <= assert_locked(await api.log_in(ADA)) <= 5, "a refused attempt does not lengthen the wait"
    owner.execute("update login_attempts set expires_at = now() - interval '1 millisecond'")
    await guess(api)
    assert assert_locked(await api.log_in(ADA)) > WINDOW_SECONDS - 60


async def test_a_failure_deletes_expired_counts(
    app: ASGIApp, owner: psycopg.Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await guess(client_at(app, "192.0.2.1"), EVE, 1)
    owner.execute("update login_attempts set expires_at = now() - interval '2 minutes'")
    monkeypatch.setattr(login_limits, "SWEEP_SECONDS", 0.0)
    async with service(database_url) as another:
        await guess(client_at(another, "192.0.2.2"), EVE, 1)
    assert count(owner, "select count(*) from login_attempts where expires_at < now()") == 0


async def test_two_instances_share_the_failure_count(app: ASGIApp, database_url: str) -> None:
    async with service(database_url) as second:
        await guess(client_at(app, "192.0.2.1"), times=LIMIT - 1)
        await guess(client_at(second, "192.0.2.1"), times=1)
        for each in (app, second):
            assert_locked(await client_at(each, "192.0.2.1").log_in(ADA))


async def test_failed_sign_ups_are_limited_by_address(app: ASGIApp, owner: psycopg.Connection) -> None:
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


async def test_a_login_failure_limit_of_0_turns_every_limit_off(
    app: ASGIApp, database_url: str, owner: psycopg.Connection
) -> None:
    await guess(client_at(app, "192.0.2.1"))
    owner.execute("update login_attempts set attempts = 1000000")
    async with service(database_url, limit=0) as unlimited:
        api = client_at(unlimited, "192.0.2.1")
        await guess(api, times=LIMIT + 1)
        assert_error(await api.sign_up(ADA), 409, "Email already registered")
    assert count(owner, "select count(*) from login_attempts where attempts < 1000000") == 0


async def test_concurrent_failures_and_successes_do_not_deadlock(owner: psycopg.Connection, owner_url: str) -> None:
    """A deadlock in the database would take a second, and count an attempt twice."""

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


async def test_failures_are_logged_with_nothing_but_address_and_reason(
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
