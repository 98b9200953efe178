"""Limits on guessed passwords and on sign-ups, counted in the database so that all workers and machines share them.

Log-ins that have not succeeded are counted by account and client address, and by address alone: by account alone,
anybody could lock anybody out. Sign-ups that have not succeeded are counted by address.
"""

import hashlib
import ipaddress
import logging
import math
import time
from typing import NamedTuple

from service.errors import ApiError
from service.postgres.pool import Pool
from service.postgres.queries import SQL

logger = logging.getLogger("service.auth.login_limits")

WINDOW_SECONDS = 900.0
ADDRESS_FACTOR = 20
"""An address may be an office or a school: it gets as many failures as this many accounts."""
REMEMBERED_SECONDS = 90 * 86400.0
"""How long an account and an address that have logged in together are exempt from the address's limit."""
SWEEP_SECONDS = 10.0
"""A worker deletes expired rows at most this often, and only when there is an attempt to count."""


class Attempt(NamedTuple):
    """What an attempt was counted under."""

    pair: bytes | None = None
    address: bytes | None = None
    remembered: bytes | None = None


class LoginLimits:
    """Failures allowed within the window: `limit` by account and address; 0 turns all limits off."""

    def __init__(self, pool: Pool, limit: int) -> None:
        self._pool = pool
        self._limit = limit
        self._next_sweep = 0.0

    async def count_log_in(self, email: str, address: str, deadline: float) -> Attempt:
        """Counts a log-in; raises ApiError 429 where there have been too many."""
        if self._limit == 0:
            return Attempt()
        await self._sweep(deadline)
        keys = log_in_keys(email, address)
        limits = (self._limit, self._limit * ADDRESS_FACTOR, WINDOW_SECONDS)
        row = await self._pool.fetch_one(SQL.count_log_in, *keys, *limits, deadline=deadline)
        _refuse_until(row["wait_seconds"], "log-in", address)
        return keys if row["counts_for_address"] else keys._replace(address=None)

    async def count_sign_up(self, address: str, deadline: float) -> Attempt:
        """Counts a sign-up; raises ApiError 429 where there have been too many."""
        if self._limit == 0:
            return Attempt()
        await self._sweep(deadline)
        key = _digest("sign-up", client_network(address))
        limits = (self._limit * ADDRESS_FACTOR, WINDOW_SECONDS)
        row = await self._pool.fetch_one(SQL.count_sign_up, key, *limits, deadline=deadline)
        _refuse_until(row["wait_seconds"], "sign-up", address)
        return Attempt(address=key)

    async def take_back(self, attempt: Attempt, deadline: float) -> None:
        """Uncounts an attempt whose password was not looked at because too many others waited, or a good sign-up."""
        if attempt != Attempt():
            await self._pool.fetch_one(SQL.take_back_attempt, attempt.pair, attempt.address, deadline=deadline)

    async def succeeded(self, attempt: Attempt, deadline: float) -> None:
        """Forgets the account's failures from this address, and remembers that the two belong together."""
        if attempt != Attempt():
            await self._pool.fetch_one(SQL.clear_attempts, *attempt, REMEMBERED_SECONDS, deadline=deadline)

    async def _sweep(self, deadline: float) -> None:
        now = time.monotonic()
        if now >= self._next_sweep:
            self._next_sweep = now + SWEEP_SECONDS
            await self._pool.fetch_one(SQL.sweep_attempts, deadline=deadline)


def _refuse_until(seconds: int | None, what: str, address: str) -> None:
    if seconds is not None:
        logger.warning("%s refused from %s: too many attempts", what, address)
        minutes = math.ceil(seconds / 60)
        message = f"Too many attempts, try again in {minutes} minute{'s' * (minutes != 1)}"
        raise ApiError(429, message, {"Retry-After": str(seconds)})


def log_in_keys(email: str, address: str) -> Attempt:
    """The keys of a pair, of its address, and of the pair as one that has logged in before. Those of a pair begin with
    the account's, so that all of an account are found."""
    network = client_network(address)
    account = account_key(email)
    return Attempt(account + _digest(network)[:16], _digest(network), account + _digest("remembered", network)[:16])


def account_key(email: str) -> bytes:
    return _digest("account", email)[:16]


def client_network(address: str) -> str:
    """Whoever has one IPv6 address has the 64 bits below it; an IPv4 address, in either spelling, is one."""
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    return str(parsed.ipv4_mapped or ipaddress.IPv6Network((int(parsed), 64), strict=False))


def _digest(*parts: str) -> bytes:
    return hashlib.sha256("\0".join(parts).encode()).digest()
