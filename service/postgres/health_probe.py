"""Whether the database answers, for /health."""

import asyncio

from service.errors import ApiError
from service.postgres.pool import Pool, deadline_after
from service.postgres.queries import SQL

PROBE_SECONDS = 1.8


class DatabaseProbe:
    """Has a connection of its own, because requests may use all of the pool's for as long as five seconds.

    /health needs no token, so requests of it that come at the same time share one statement.
    """

    def __init__(self, url: str) -> None:
        self._pool = Pool(url, size=1)
        self._ping: asyncio.Task[bool] | None = None

    async def database_answers(self) -> bool:
        """The answer takes PROBE_SECONDS at most."""
        if self._ping is None or self._ping.done():
            self._ping = asyncio.create_task(self._send_ping())
        ping = self._ping
        await asyncio.wait([ping], timeout=PROBE_SECONDS)
        return ping.done() and ping.result()

    async def _send_ping(self) -> bool:
        try:
            await self._pool.fetch_one(SQL.ping, deadline=deadline_after(PROBE_SECONDS))
        except ApiError:
            return False
        return True

    async def close(self) -> None:
        await self._pool.close()
