"""Sends one statement on one connection, and decides what a failure means: for the connection and for the request."""

import logging
import re
import time
from typing import Any

import asyncpg

from service.errors import constraint_error, unavailable
from service.postgres.pooled_connection import PooledConnection
from service.postgres.queries import Query

logger = logging.getLogger("service.postgres.retry")

# The connection is broken, or the server is about to end it. asyncpg raises InternalClientError where the server has
# said so, and the end of the connection has not arrived yet.
CONNECTION_LOST = (
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.DatabaseDroppedError,
    asyncpg.IdleSessionTimeoutError,
    asyncpg.InvalidCachedStatementError,
    OSError,
)
# The server cannot run the statement now (the disk is full, it only reads, ...). The connection works.
NOT_NOW = (asyncpg.InsufficientResourcesError, asyncpg.QueryCanceledError, asyncpg.ReadOnlySQLTransactionError)
# What Citus reports where one of its nodes cannot reach another, or has lost its connection to it: as an internal error
# (XX000) or as a failed connection (08006). The connection of the service works.
BETWEEN_NODES = re.compile(
    "connection marked as essential|could not commit transaction|failed to prepare transaction|connection failures"
    "|connection to the remote node"
)
READ_ONLY_SECONDS = 10.0
"""A connection older than this is closed when its server only reads: after a failover a new connection finds the new
primary. A younger one is kept, or each write would cost a connection as long as no server takes writes."""


class SendAgain(Exception):
    """The statement failed and may succeed when it is sent once more. Every statement is safe to send twice."""


async def send(connection: PooledConnection, query: Query, args: tuple[Any, ...], deadline: float) -> Any:
    """Returns the statement's row, or None; raises SendAgain, or the ApiError for the client."""
    connection.deadline = deadline
    try:
        statement = connection.statements.get(query.name)
        if statement is None:
            row = await connection.fetch_one(query, args)
        else:
            rows = await connection.execute(statement, args)
            row = rows[0] if rows else None
        if row is None and not connection.is_open():
            # asyncpg returns None where the server ended the connection while it cancelled the statement.
            raise ConnectionResetError
        return row
    except asyncpg.IntegrityConstraintViolationError as violation:
        # The detail quotes the row, a password's hash for one, so only the message is logged.
        unforeseen = RuntimeError(f"{query.name}: {violation.args[0]}")
        raise constraint_error(violation) or unforeseen from None
    except Exception as error:
        lost = _is_lost(connection, error)
        if lost:
            connection.drop()
        if time.monotonic() >= deadline:
            logger.warning("%s did not end before the request's deadline", query.name)
            raise unavailable() from error
        if lost or _is_rolled_back(error):
            logger.warning("connection lost under %s" if lost else "%s was rolled back", query.name, exc_info=error)
            raise SendAgain from error
        if isinstance(error, NOT_NOW):
            logger.warning("the server cannot run %s now", query.name, exc_info=error)
            raise unavailable() from error
        raise
    except BaseException:
        connection.drop()
        raise


def _is_lost(connection: PooledConnection, error: Exception) -> bool:
    if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
        return time.monotonic() - connection.opened > READ_ONLY_SECONDS
    if _is_between_nodes(error):
        return not connection.is_open()
    return isinstance(error, CONNECTION_LOST) or not connection.is_open()


def _is_rolled_back(error: Exception) -> bool:
    return isinstance(error, asyncpg.TransactionRollbackError) or _is_between_nodes(error)


def _is_between_nodes(error: Exception) -> bool:
    reported = isinstance(error, asyncpg.InternalServerError | asyncpg.ConnectionFailureError)
    return reported and bool(BETWEEN_NODES.search(error.args[0]))
