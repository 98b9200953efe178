"""The pool of connections to PostgreSQL, and the one way in which a request uses it: `Pool.fetch_one`.

Why not asyncpg's own pool: it sends a reset statement and makes a task at each release. No statement of ours leaves
session state behind (a test holds that), so a connection is handed on as it is.
"""

import asyncio
import logging
import math
import re
from collections import deque
from typing import Any

import asyncpg

from service.errors import ApiError, constraint_error, unavailable
from service.postgres import connection_string
from service.postgres.queries import Query

logger = logging.getLogger("service.postgres.pool")

POOL_SIZE = 10
REQUEST_SECONDS = 5.0
"""A request waits no longer than this for the database: for a connection, for its opening, for all its statements."""
IDLE_SECONDS = 60.0
"""Idle connections are let go before a serverless database drops them, so that it can go to sleep."""
TICK_SECONDS = 0.1
"""How often the limits are looked at: one timer for all, because one for each statement costs more than its share."""

# The connection died under the statement, or the server said that the statement did not happen.
# Every statement is safe to send twice, so it is sent once more, on a new connection.
# InternalClientError is what asyncpg makes of a connection that was told of its end, but has not seen it yet.
RESEND = (
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InvalidCachedStatementError,
    OSError,
)
# What Citus reports, as an internal error (XX000), where one of its nodes has lost a connection to another.
BETWEEN_NODES = re.compile(
    "connection marked as essential|could not commit transaction|failed to prepare transaction|connection failures"
)
# A server that starts, stops or breaks off is worth waiting for, unlike one that refuses.
NOT_YET = (asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError, ConnectionError)


def deadline_after(seconds: float = REQUEST_SECONDS) -> float:
    """The deadline of a request with several statements: compute it once, pass it to each of them."""
    return asyncio.get_running_loop().time() + seconds


def _is_broken_between_nodes(error: BaseException) -> bool:
    return isinstance(error, asyncpg.InternalServerError) and bool(BETWEEN_NODES.search(error.args[0]))


class ConnectionLost(Exception):
    """The connection is gone and what became of the statement is unknown; its room in the pool is still taken."""


class PooledConnection:
    """A connection of the pool with the statements it has prepared; behind a transaction pooler it prepares none."""

    __slots__ = ("connection", "deadline", "idle_since", "statements")

    def __init__(self, connection: asyncpg.Connection, prepares: bool) -> None:
        self.connection = connection
        self.deadline = self.idle_since = math.inf
        self.statements: dict[str, Any] | None = {} if prepares else None

    async def send(self, query: Query, args: tuple[Any, ...]) -> Any:
        """For a statement that is not prepared here yet, or never is."""
        if self.statements is None:
            return await self.connection.fetchrow(query.sql, *args)
        statement = self.statements[query.name] = await self.connection.prepare(query.sql)
        return await statement.fetchrow(*args)


class Pool:
    """At most `size` connections, opened when needed, let go when idle. To be made inside the running event loop."""

    def __init__(self, url: str, size: int = POOL_SIZE) -> None:
        target = connection_string.parse(url)
        if target.ignored:
            logger.warning("parameters of DATABASE_URL without effect: %s", ", ".join(target.ignored))
        self._prepares = not target.pooled
        self._connect_arguments = target.connect
        if self._prepares:
            # What the pool gives up after its budget, the server must not go on with.
            limit = {"statement_timeout": str(int(REQUEST_SECONDS * 1000))}
            self._connect_arguments = {**target.connect, "server_settings": limit | target.connect["server_settings"]}
        self._loop = asyncio.get_running_loop()
        self._room = size
        self._free: list[PooledConnection] = []
        self.busy: set[PooledConnection] = set()
        """Connections that run a statement."""
        self.waiting: deque[tuple[asyncio.Future[PooledConnection | None], float]] = deque()
        """Requests that wait for a connection, and until when."""
        self._ticking = self._loop.call_later(TICK_SECONDS, self._tick)

    async def fetch_one(
        self, query: Query, *args: Any, deadline: float | None = None, default_on_retry: Any = None
    ) -> Any:
        """Runs the statement; returns its row, or None where there is none.

        `default_on_retry` is returned instead of None where the statement had to be sent a second time: a DELETE that
        finds nothing then has done its work the first time. Raises ApiError: a constraint's own answer, or 503 when the
        database is away or does not answer before `deadline` (in the loop's time; None: REQUEST_SECONDS from now).
        """
        if deadline is None:
            deadline = self._loop.time() + REQUEST_SECONDS
        held = await self._acquire(deadline)
        try:
            return await self._send(held, query, args, deadline)
        except ConnectionLost as lost:
            logger.warning("connection lost under %s", query.name, exc_info=lost)
        held = await self._open(deadline)
        try:
            try:
                row = await self._send(held, query, args, deadline)
            except ApiError:
                # Where both ran at once, either can find the other's row in the way; it is there by now, and known.
                row = await self._send(await self._acquire(deadline), query, args, deadline)
        except ConnectionLost as lost:
            self._release(None)
            logger.error("%s was not answered", query.name, exc_info=lost)
            raise unavailable() from lost
        return default_on_retry if row is None else row

    async def _send(self, held: PooledConnection, query: Query, args: tuple[Any, ...], deadline: float) -> Any:
        held.deadline = deadline
        self.busy.add(held)
        try:
            statement = held.statements and held.statements.get(query.name)
            row = await (statement.fetchrow(*args) if statement else held.send(query, args))
        except asyncpg.IntegrityConstraintViolationError as violation:
            self._release(held)
            # The detail quotes the row, a password's hash for one, so only the message is logged.
            unforeseen = RuntimeError(f"{query.name}: {violation.args[0]}")
            raise constraint_error(violation) or unforeseen from None
        except BaseException as error:
            closed = held.connection.is_closed()
            held.connection.terminate()
            if (
                isinstance(error, RESEND)
                or _is_broken_between_nodes(error)
                or (closed and isinstance(error, asyncpg.InterfaceError))
            ):
                raise ConnectionLost from error
            self._release(None)
            raise
        finally:
            self.busy.discard(held)
        self._release(held)
        return row

    async def _acquire(self, deadline: float) -> PooledConnection:
        while self._free:
            held = self._free.pop()
            if not held.connection.is_closed():
                return held
            self._room += 1
        if self._room:
            self._room -= 1
            return await self._open(deadline)
        turn: asyncio.Future[PooledConnection | None] = self._loop.create_future()
        self.waiting.append((turn, deadline))
        try:
            given = await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and not turn.exception():
                self._release(turn.result())
            raise
        return given or await self._open(deadline)

    async def _open(self, deadline: float) -> PooledConnection:
        """A new connection for room that is already taken; gives the room back when it fails."""
        try:
            return PooledConnection(await self._connect(deadline), self._prepares)
        except BaseException as error:
            self._release(None)
            if not isinstance(error, Exception):
                raise
            logger.error("no connection to the database", exc_info=error)
            raise unavailable() from error

    async def _connect(self, deadline: float) -> asyncpg.Connection:
        while True:
            left = deadline - self._loop.time()
            try:
                return await asyncpg.connect(**self._connect_arguments, timeout=left)
            except NOT_YET as error:
                if isinstance(error, ConnectionRefusedError) or left < TICK_SECONDS:
                    raise
            await asyncio.sleep(TICK_SECONDS)

    def _release(self, held: PooledConnection | None) -> None:
        """Gives a connection (None: the room for one) to the request that has waited longest, else keeps it."""
        if held is not None and held.connection.is_closed():
            held = None
        while self.waiting:
            turn, _ = self.waiting.popleft()
            if not turn.done():
                turn.set_result(held)
                return
        if held is None:
            self._room += 1
        else:
            held.idle_since = self._loop.time()
            self._free.append(held)

    def _tick(self) -> None:
        """Ends what has waited or worked for too long, and lets go what has been idle for too long."""
        now = self._loop.time()
        for turn, deadline in self.waiting:
            if now >= deadline and not turn.done():
                turn.set_exception(unavailable())
        for held in self.busy:
            if now >= held.deadline:
                # Ends the wait with an error, which finds the budget spent when it wants to connect again.
                held.connection.terminate()
        # The newest is used first, so the oldest stand at the left.
        while self._free and now - self._free[0].idle_since >= IDLE_SECONDS:
            self._free.pop(0).connection.terminate()
            self._room += 1
        self._ticking = self._loop.call_later(TICK_SECONDS, self._tick)

    async def close(self) -> None:
        self._ticking.cancel()
        closing = [held.connection.close(timeout=1) for held in self._free]
        for error in await asyncio.gather(*closing, return_exceptions=True):
            if error is not None:
                logger.warning("a connection was not closed in order", exc_info=error)
