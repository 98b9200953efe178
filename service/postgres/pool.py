"""The pool of connections to PostgreSQL, and the one way in which a request uses it: `Pool.fetch_one`.

Why not asyncpg's own pool: it sends a reset statement and makes a task at each release. No statement of ours leaves
session state behind (a test holds that), so the next request gets a connection as it is.
"""

import asyncio
import logging
import time
from collections import deque
from typing import Any

from service.errors import ApiError, unavailable
from service.postgres import connection_string
from service.postgres.pooled_connection import PooledConnection
from service.postgres.queries import Query
from service.postgres.retry import SendAgain, send
from service.postgres.wait_queue import WaitingRequests

logger = logging.getLogger("service.postgres.pool")

POOL_SIZE = 10
ACCOUNTS = 5
"""No account uses more than its fifth of the connections: long lists of one must leave processors, memory and
connections to the others."""
REQUEST_SECONDS = 5.0
"""A request waits no longer than this: for the check of its token, for a connection, for all its statements."""
IDLE_SECONDS = 60.0
"""Idle connections are closed before a serverless database drops them, so that it can go to sleep."""
TICK_SECONDS = 0.1
"""How often the deadlines are checked: one timer for all, because one for each statement costs more than its share."""
SERVER_SETTINGS = {
    # The server ends a statement whose worker is gone, and within a minute a connection that the network has lost.
    "statement_timeout": str(int(REQUEST_SECONDS * 1000)),
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}


def deadline_after(seconds: float | None = None) -> float:
    """The deadline of all waits of one request (None: REQUEST_SECONDS): computed once, passed to each of them.

    In the time of `time.monotonic`, as all deadlines: up to Python 3.11 asyncio.get_running_loop() makes a system call
    (getpid)."""
    return time.monotonic() + (seconds or REQUEST_SECONDS)


class Pool:
    """At most `size` connections, opened when needed, closed when idle. To be made inside the running event loop.

    An account uses at most size / ACCOUNTS of them at once, and the accounts that wait for one take turns.
    """

    def __init__(self, url: str, size: int = POOL_SIZE) -> None:
        target = connection_string.parse(url)
        if target.ignored:
            logger.warning("parameters of DATABASE_URL without effect: %s", ", ".join(target.ignored))
        arguments = target.connect
        if not target.pooled:  # a transaction pooler takes no settings
            arguments = {**arguments, "server_settings": SERVER_SETTINGS | arguments["server_settings"]}
        self._loop = asyncio.get_running_loop()
        self._share = max(1, size // ACCOUNTS)
        # Those that are open stand at the right, the one used last at the end.
        self._free = deque(PooledConnection(arguments, prepares=not target.pooled) for _ in range(size))
        self.busy: set[PooledConnection] = set()
        """The connections that requests use."""
        self._used: dict[object, int] = {}
        """How many of them each account uses."""
        self.waiting = WaitingRequests(self._loop)
        self._cancelling: set[asyncio.Task[None]] = set()
        self._ticking = self._loop.call_later(TICK_SECONDS, self._tick)

    async def fetch_one(self, query: Query, *args: Any, deadline: float, default_on_retry: Any = None) -> Any:
        """Runs the statement; returns its row, or None where there is none. The first argument is the account whose
        share of the pool is used, as the user's id in each statement on tasks.

        `default_on_retry` is returned instead of None where the statement had to be sent a second time: a DELETE that
        finds nothing then has done its work the first time. Raises ApiError: a constraint's own answer, or 503 when the
        database is away or does not answer before `deadline`.
        """
        account = args[0] if args else query.name
        connection = self._acquire(account) or await self._wait(account, deadline)
        try:
            if not connection.is_open():
                await self._open(connection, deadline)
            try:
                return await send(connection, query, args, deadline)
            except SendAgain:
                row = await self._retry(connection, query, args, deadline)
                return default_on_retry if row is None else row
        finally:
            self._release(connection)

    async def _retry(self, connection: PooledConnection, query: Query, args: tuple[Any, ...], deadline: float) -> Any:
        try:
            if not connection.is_open():
                await self._open(connection, deadline)
            try:
                return await send(connection, query, args, deadline)
            except ApiError as refused:
                if refused.status == 503:
                    raise
                # The statement ran twice at once, and found its own row in the way. By now it can find that row.
                return await send(connection, query, args, deadline)
        except SendAgain as failure:
            raise unavailable() from failure

    def _acquire(self, account: object) -> PooledConnection | None:
        """A free connection, open or not; None where there is none, or none for this account."""
        if not self._free or not self._may_use_one_more(account):
            return None
        connection = self._free.pop()
        self._take(connection, account)
        return connection

    def _may_use_one_more(self, account: object) -> bool:
        return self._used.get(account, 0) < self._share

    def _take(self, connection: PooledConnection, account: object) -> None:
        connection.account = account
        self.busy.add(connection)
        self._used[account] = self._used.get(account, 0) + 1

    async def _wait(self, account: object, deadline: float) -> PooledConnection:
        turn = self.waiting.add(account, deadline)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and not turn.exception():
                self._release(turn.result())
            raise

    async def _open(self, connection: PooledConnection, deadline: float) -> None:
        try:
            await connection.open(deadline)
        except Exception as error:
            logger.warning("no connection to the database", exc_info=error)
            raise unavailable() from error

    def _release(self, connection: PooledConnection) -> None:
        """Gives the connection, open or not, to the request whose turn it is, else keeps it."""
        self.busy.discard(connection)
        used = self._used.pop(connection.account) - 1
        if used:
            self._used[connection.account] = used
        if self.waiting and (turn := self.waiting.next(self._may_use_one_more)):
            self._take(connection, turn.account)
            turn.set_result(connection)
        elif connection.is_open():
            connection.idle_since = time.monotonic()
            self._free.append(connection)
        else:
            self._free.appendleft(connection)

    def _tick(self) -> None:
        """Ends what has waited or run until its deadline, and closes what has been idle for too long."""
        now = time.monotonic()
        self.waiting.expire(now)
        for connection in self.busy:
            if now >= connection.deadline:
                cancelling = self._loop.create_task(connection.cancel())
                self._cancelling.add(cancelling)
                cancelling.add_done_callback(self._cancelling.discard)
        for connection in self._free:
            if now - connection.idle_since >= IDLE_SECONDS:
                connection.close()
        self._ticking = self._loop.call_later(TICK_SECONDS, self._tick)

    async def close(self) -> None:
        self._ticking.cancel()
        closing = [connection.close_in_order(seconds=1) for connection in self._free]
        for error in await asyncio.gather(*closing, return_exceptions=True):
            if error is not None:
                logger.warning("a connection was not closed in order", exc_info=error)
