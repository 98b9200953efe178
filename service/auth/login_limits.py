"""Guessed passwords: log-ins that have not succeeded are counted by account and client address, and by address alone.

By account alone would let anybody lock anybody out.
"""

import hashlib
import ipaddress
import logging
import math

from service.errors import ApiError
from service.postgres.pool import Pool
from service.postgres.queries import SQL

logger = logging.getLogger("service.auth.login_limits")

WINDOW_SECONDS = 900.0
ADDRESS_FACTOR = 20
"""An address may be an office or a school: it gets as many failures as this many accounts."""


class LoginLimits:
    """Failed log-ins allowed within the window: `limit` by account and address; 0 counts nothing."""

    def __init__(self, pool: Pool, limit: int) -> None:
        self._pool = pool
        self._limit = limit

    async def count(self, email: str, address: str) -> None:
        """Counts an attempt; raises ApiError 429 where there have been too many."""
        if self._limit == 0:
            return
        limits = (self._limit, self._limit * ADDRESS_FACTOR, WINDOW_SECONDS)
        row = await self._pool.fetch_one(SQL.count_attempt, *_keys(email, address), *limits)
        if (seconds := row["wait_seconds"]) is not None:
            logger.warning("log-in refused from %s: too many attempts", address)
            minutes = math.ceil(seconds / 60)
            message = f"Too many attempts, try again in {minutes} minute{'s' if minutes > 1 else ''}"
            raise ApiError(429, message, {"Retry-After": str(seconds)})

    async def take_back(self, email: str, address: str) -> None:
        """Uncounts an attempt whose password was never looked at, because too many others waited."""
        if self._limit:
            await self._pool.fetch_one(SQL.take_back_attempt, _keys(email, address)[0])

    async def clear(self, email: str, address: str) -> None:
        """Forgets the account's failures from this address after a success."""
        if self._limit:
            await self._pool.fetch_one(SQL.clear_attempts, *_keys(email, address))


def _keys(email: str, address: str) -> tuple[bytes, bytes]:
    address = client_network(address)
    return _digest(address, email), _digest(address)


def client_network(address: str) -> str:
    """Whoever has one IPv6 address has the 64 bits below it; an IPv4 address, in either spelling, is one."""
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    return str(parsed.ipv4_mapped or ipaddress.IPv6Network((int(parsed), 64), strict=False))


def _digest(*parts: str) -> bytes:
    return hashlib.sha256("\0".join(parts).encode()).digest()
