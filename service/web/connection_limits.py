"""The limits of a connection: time and bytes for a request to arrive, and for an answer to be read."""

import asyncio

from starlette.types import Scope

from service.errors import unavailable

ARRIVAL_SECONDS = 20.0
"""Time for a request to arrive, from its first byte to its last, and for the first byte of a new connection."""
OVERHEAD_BYTES = 256 * 1024
"""Limit on non-body bytes of a request: request line, headers, chunk framing, trailers."""
HEADERS = 1000
"""Limit on a request's headers: each takes memory that is not given back. Browsers and proxies send some dozens."""
PIPELINED_REQUESTS = 100
"""Limit on requests that wait for the answer to the one before. Clients in use send none."""
LINGER_SECONDS = 1.0
"""How long an idle connection stays open for one more request after the stop signal."""

LARGE_ANSWER_BYTES = 64 * 1024
"""From this size on an answer counts: smaller ones fit into the buffers that every connection has."""
UNSENT_BYTES = 32 * 1024 * 1024
"""Limit on the bytes of large answers that wait in one worker for their clients to read."""
PROGRESS_SECONDS = 10.0
PROGRESS_BYTES = 16 * 1024
"""A client that reads less than this of a large answer in PROGRESS_SECONDS is disconnected."""


class UnsentAnswers:
    """The connections of one worker whose clients have not read their answer yet."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timers: dict[asyncio.Transport, asyncio.TimerHandle] = {}

    def add(self, transport: asyncio.Transport) -> None:
        """Bytes wait in this transport. It is aborted unless they become fewer."""
        waiting = transport.get_write_buffer_size()
        self._timers[transport] = self._loop.call_later(PROGRESS_SECONDS, self._check, transport, waiting)

    def discard(self, transport: asyncio.Transport) -> None:
        if timer := self._timers.pop(transport, None):
            timer.cancel()

    def make_room(self, size: int) -> None:
        """Call it before a large answer is sent. Where there is no room for it, the connection with the most unsent
        bytes is aborted; raises ApiError 503 where this answer itself would be that one."""
        while self._timers and self.waiting_bytes() + size > UNSENT_BYTES:
            largest = max(self._timers, key=lambda transport: transport.get_write_buffer_size())
            if largest.get_write_buffer_size() < size:
                raise unavailable()
            self._abort(largest)

    def waiting_bytes(self) -> int:
        return sum(transport.get_write_buffer_size() for transport in self._timers)

    def _check(self, transport: asyncio.Transport, before: int) -> None:
        if before - transport.get_write_buffer_size() < PROGRESS_BYTES:
            self._abort(transport)
        else:
            self.add(transport)

    def _abort(self, transport: asyncio.Transport) -> None:
        # Not close(), which waits for the buffer to empty.
        self.discard(transport)
        transport.abort()


def make_room(scope: Scope, size: int) -> None:
    """As UnsentAnswers.make_room, for a request that came through our server: others have no such limit."""
    if unsent := scope["state"].get("unsent_answers"):
        unsent.make_room(size)
