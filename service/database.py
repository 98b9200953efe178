"""The pool of connections to PostgreSQL, and the one way in which a request uses it: `Database.one`.

Why not asyncpg's own pool: it sends a reset statement and makes a task at each release. No statement of ours leaves
session state behind (a test holds that), so a connection is handed on as it is.
"""

import asyncio
import logging
from collections import deque
from typing import Any

import asyncpg

from service import dsn
from service.errors import of_constraint, unavailable
from service.queries import Query

logger = logging.getLogger("service.database")

POOL_SIZE = 10
REQUEST_SECONDS = 5.0
"""One budget for all of a request's waiting: for a connection, for its making, for the statement."""
IDLE_SECONDS = 60.0
"""Idle connections are let go before a serverless database drops them, so that it can go to sleep."""

# The connection died under the statement, or the server said that the statement did not happen.
# Every statement is safe to send twice, so it is sent once more, on a new connection.
RESEND = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.TransactionRollbackError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InvalidCachedStatementError,
    OSError,
)
# Nothing that the client or the code did: the answer is 503, and the log says what happened.
AWAY = (
    *RESEND,
    TimeoutError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
)


class Database:
    """At most `size` connections, opened when needed and let go when idle; must be made inside a running event loop."""

    def __init__(self, url: str, size: int = POOL_SIZE) -> None:
        self._target = dsn.parse(url)
        self._loop = asyncio.get_running_loop()
        self._free: deque[tuple[asyncpg.Connection, float]] = deque()
        self._room = size
        self._waiting: deque[asyncio.Future[asyncpg.Connection | None]] = deque()
        self._sweeper = self._loop.call_later(IDLE_SECONDS / 2, self._let_go)

    async def one(self, query: Query, *args: Any, seconds: float = REQUEST_SECONDS, resent_nothing: Any = None) -> Any:
        """Runs the statement; returns its row, or None where there is none.

        `resent_nothing` is returned instead of None where the statement had to be sent a second time: a DELETE that
        finds nothing then has done its work the first time. Raises ApiError: a constraint's own answer, or 503 when the
        budget of `seconds` is spent or the database is away.
        """
        deadline = self._loop.time() + seconds
        connection = await self._acquire(deadline)
        try:
            try:
                row = await self._send(connection, query, args, deadline)
            except Exception as error:
                if not (isinstance(error, RESEND) or connection.is_closed()):
                    raise
                logger.warning("connection lost under %s, sending it again: %r", query.name, error)
                connection.terminate()
                connection = await self._connect(deadline)
                row = await self._send(connection, query, args, deadline)
                row = resent_nothing if row is None else row
        except asyncpg.IntegrityConstraintViolationError as violation:
            self._release(connection)
            raise of_constraint(violation) or violation from None
        except BaseException as error:
            lost = connection.is_closed()
            self._discard(connection)
            if isinstance(error, AWAY) or (lost and isinstance(error, asyncpg.InterfaceError)):
                logger.error("%s was not answered: %r", query.name, error)
                raise unavailable() from error
            raise
        self._release(connection)
        return row

    async def _send(self, connection: asyncpg.Connection, query: Query, args: tuple[Any, ...], deadline: float) -> Any:
        return await connection.fetchrow(query.sql, *args, timeout=deadline - self._loop.time())

    async def _acquire(self, deadline: float) -> asyncpg.Connection:
        while self._free:
            connection, _ = self._free.pop()
            if not connection.is_closed():
                return connection
            self._room += 1
        if self._room:
            self._room -= 1
            return await self._open(deadline)
        return await self._wait(deadline) or await self._open(deadline)

    async def _wait(self, deadline: float) -> asyncpg.Connection | None:
        """Waits for a connection that another request is done with; None is the room of one that is gone."""
        turn: asyncio.Future[asyncpg.Connection | None] = self._loop.create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout_at(deadline):
                return await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._hand_on(turn.result())
            if isinstance(error, TimeoutError):
                raise unavailable() from None
            raise

    async def _open(self, deadline: float) -> asyncpg.Connection:
        """A new connection for room that is already taken; gives the room back when it fails."""
        try:
            return await self._connect(deadline)
        except BaseException as error:
            self._hand_on(None)
            if isinstance(error, (*AWAY, asyncpg.InterfaceError)):
                logger.error("no connection to the database: %r", error)
                raise unavailable() from error
            raise

    async def _connect(self, deadline: float) -> asyncpg.Connection:
        while True:
            try:
                return await asyncpg.connect(**self._target.connect, timeout=deadline - self._loop.time())
            except asyncpg.CannotConnectNowError:
                # The server is there but still starting: worth waiting for, unlike one that refuses.
                if self._loop.time() + 0.1 > deadline:
                    raise
                await asyncio.sleep(0.1)

    def _release(self, connection: asyncpg.Connection) -> None:
        if connection.is_closed():
            self._hand_on(None)
        else:
            self._hand_on(connection)

    def _discard(self, connection: asyncpg.Connection) -> None:
        connection.terminate()
        self._hand_on(None)

    def _hand_on(self, connection: asyncpg.Connection | None) -> None:
        """Gives a connection (None: the room for one) to the request that has waited longest, else keeps it."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(connection)
                return
        if connection is None:
            self._room += 1
        else:
            self._free.append((connection, self._loop.time()))

    def _let_go(self) -> None:
        """Closes what has been idle for too long: the oldest stand at the left, because the newest is used first."""
        while self._free and self._free[0][1] < self._loop.time() - IDLE_SECONDS:
            connection, _ = self._free.popleft()
            connection.terminate()
            self._room += 1
        self._sweeper = self._loop.call_later(IDLE_SECONDS / 2, self._let_go)

    async def close(self) -> None:
        self._sweeper.cancel()
        while self._free:
            connection, _ = self._free.pop()
            try:
                await connection.close(timeout=1)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection.terminate()
