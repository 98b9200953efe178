"""One connection of the pool. What the service uses of asyncpg's undocumented parts stands here alone."""

import asyncio
import contextlib
import math
import socket
import struct
import time
from collections.abc import Awaitable, Mapping
from typing import Any

import asyncpg

from service.postgres.queries import Query

CANCEL_SECONDS = 0.5
"""A statement that has passed its deadline is cancelled; its connection is dropped where that takes longer."""
RECONNECT_SECONDS = 0.1
"""The pause before the next attempt to connect to a server that is not ready."""
# The server starts, stops, or breaks the connect off. One that refuses the connect is not waited for.
NOT_READY = (asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError, ConnectionError)


class PooledConnection:
    """Opened when a request needs it, closed when it is broken or idle for long, and opened again."""

    __slots__ = ("_arguments", "_connection", "_prepares", "account", "deadline", "idle_since", "opened", "statements")

    def __init__(self, arguments: Mapping[str, Any], prepares: bool) -> None:
        self._arguments = arguments
        self._connection: Any = None
        """asyncpg's connection; None while there is none."""
        self._prepares = prepares
        self.statements: dict[str, Any] = {}
        """The prepared statements by name; behind a transaction pooler there are none."""
        self.account: object = None
        """The account whose request uses the connection."""
        self.deadline = math.inf
        """Until when its statement may run."""
        self.idle_since = self.opened = math.inf

    def is_open(self) -> bool:
        return self._connection is not None and not self._connection.is_closed()

    async def open(self, deadline: float) -> None:
        """Connects, as soon as the server is ready. Raises what asyncpg.connect raises."""
        self.close()
        while True:
            left = deadline - time.monotonic()
            try:
                self._connection = await asyncpg.connect(**self._arguments, timeout=left)
                self.opened = time.monotonic()
                return
            except NOT_READY as error:
                if isinstance(error, ConnectionRefusedError) or left < RECONNECT_SECONDS:
                    raise
            await asyncio.sleep(RECONNECT_SECONDS)

    async def fetch_one(self, query: Query, args: tuple[Any, ...]) -> Any:
        """Runs a statement that this connection has not prepared yet, or prepares never."""
        if not self._prepares:
            return await self._connection.fetchrow(query.sql, *args)
        statement = self.statements[query.name] = await self._connection.prepare(query.sql)
        return await statement.fetchrow(*args)

    def execute(self, statement: Any, args: tuple[Any, ...]) -> Awaitable[list[asyncpg.Record]]:
        """Runs a statement of `statements`; returns at most one row.

        As `statement.fetchrow(*args)`, without the three coroutines and two wrappers around asyncpg's protocol: 3.8% of
        a worker's instructions for a get."""
        rows: Awaitable[list[asyncpg.Record]] = self._connection._protocol.bind_execute(
            statement._state, args, "", 1, False, None
        )
        return rows

    async def cancel(self) -> None:
        """Cancels the statement and closes the connection, in CANCEL_SECONDS at most; the statement ends with an error.

        A server process that waits for a lock, or at its commit for a standby, does not notice a close without a cancel
        request: such processes would use up the server's max_connections.
        """
        self.deadline = math.inf
        if self._connection:
            self._reset_on_close()
            with contextlib.suppress(Exception):
                await self._connection.close(timeout=CANCEL_SECONDS)

    def drop(self) -> None:
        """Closes the connection at once; what the network has not delivered yet is discarded."""
        if self._connection:
            self._reset_on_close()
        self.close()

    def close(self) -> None:
        """Closes a connection that runs no statement."""
        if self._connection:
            self._connection.terminate()
        self._connection = None
        self.statements.clear()
        self.deadline = self.idle_since = math.inf

    async def close_in_order(self, seconds: float) -> None:
        """As `close`, but tells the server. Raises what asyncpg raises where that fails."""
        if self._connection:
            await self._connection.close(timeout=seconds)

    def _reset_on_close(self) -> None:
        """Lets the close of the socket send a reset (SO_LINGER with 0 seconds).

        Otherwise the kernel sends unacknowledged data again and again after the close, for minutes: a statement that
        was answered 503 while the network was down would run when it is up again, after later statements.
        """
        sock = self._connection._transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError, ValueError):  # it is closed already
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
