"""uvicorn's HTTP protocol with what it lacks: limits on a request's arrival, and an answer in one write.

uvicorn writes an answer's head and its body apart, and a `write` to a socket is the dearest thing that a request does:
half of a worker's time on the list of 20 before this file, a third less with it.
"""

import asyncio
import math
import secrets
import select
from collections import deque
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

ARRIVAL_SECONDS = 20.0
"""From a request's first byte to its last, or from the connection to the first byte; then the connection is closed."""
LARGEST_OVERHEAD_BYTES = 256 * 1024
"""What may arrive of a request besides its body: head, sizes of chunks, trailers."""
MOST_HEADERS = 1000
"""Each takes memory that is not given back; browsers and proxies send some dozens."""
LONGEST_PIPELINE = 100
"""Requests that wait for the answer to the one before; each takes memory, and no client in use sends any."""
LINGER_SECONDS = 1.0
"""How long an idle connection is kept for one more request when the service stops."""
NOWHERE: deque[tuple[bytes, bytes]] = deque(maxlen=0)
REFUSAL_BODY = b'{"error": "The request is not HTTP as it should be"}'
REFUSAL = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nx-content-type-options: nosniff\r\nvary: Origin\r\n"
    b"x-request-id: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
)


class Protocol(HttpToolsProtocol):
    """One connection."""

    _stopping = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._until = self.loop.time() + ARRIVAL_SECONDS
        self._overhead = 0
        # One lazy timer for a connection instead of two for each request: 3% of a worker's instructions.
        self._watch = self.loop.call_later(ARRIVAL_SECONDS, self._close_if_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._until = min(self._until, self.loop.time() + ARRIVAL_SECONDS)
        self._overhead += len(data)
        super().data_received(data)
        if self._overhead > LARGEST_OVERHEAD_BYTES:
            self.transport.close()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keeps the connection of a client that has said all it had to say until it is answered."""
        return self._answer_and_close()

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= LONGEST_PIPELINE:
            raise ValueError  # which the parser takes for bad HTTP
        super().on_message_begin()
        self._until = self.loop.time() + ARRIVAL_SECONDS
        self._overhead = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) == MOST_HEADERS:
            raise ValueError
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        # Trailers are no headers: what a proxy took care of above must not come again below.
        self.headers = NOWHERE  # type: ignore[assignment]
        # An upgrade is refused, but the parser reads no further.
        if self._stopping or self.parser.should_upgrade():
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._overhead -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._until = self.loop.time() + self.timeout_keep_alive if self.cycle.response_complete else math.inf
        self._overhead = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """uvicorn's without its timer: an idle connection is `_close_if_late`'s business."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._until == math.inf:
            self._until = self.loop.time() + self.timeout_keep_alive

    def send_400_response(self, msg: str) -> None:
        """In JSON, and not before what came whole is answered: it would be taken for that request's answer."""
        if self._answer_and_close():
            self.transport.pause_reading()
            return
        if not self.pipeline:
            self.transport.write(REFUSAL % (secrets.token_hex(12).encode(), len(REFUSAL_BODY), REFUSAL_BODY))
        self.transport.close()

    def _answer_and_close(self) -> bool:
        """Makes the answer to the newest request the last one; False where there is no whole request to answer."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete or cycle.more_body:
            return False
        cycle.keep_alive = False
        return True

    def shutdown(self) -> None:
        """Closes an idle connection, too, but not at once: a request may be on its way."""
        self._stopping = True
        if self.cycle is None or self.cycle.response_complete:
            self.timeout_keep_alive_task = self.loop.call_later(LINGER_SECONDS, self.timeout_keep_alive_handler)
        else:
            self.cycle.keep_alive = False

    def timeout_keep_alive_handler(self) -> None:
        """Closes an idle connection, unless there is a request that is not read yet."""
        if not self.transport.is_closing():
            poll = select.poll()
            poll.register(self.transport.get_extra_info("socket"), select.POLLIN)
            if not poll.poll(0):
                self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        cycle.__class__ = OneWriteCycle
        super()._start_asgi_task(cycle, app)

    def _unsupported_upgrade_warning(self) -> None:
        """Whatever clients ask for is no reason to warn anybody."""

    def _close_if_late(self) -> None:
        delay = min(self._until - self.loop.time(), ARRIVAL_SECONDS)
        if delay > 0:
            self._watch = self.loop.call_later(delay, self._close_if_late)
        elif isinstance(self.cycle, OneWriteCycle) and self.cycle.give_up_body():
            self._watch = self.loop.call_later(LINGER_SECONDS, self.transport.close)
        else:
            self.transport.close()


class OneWriteCycle(RequestResponseCycle):
    """One request and its answer. A start is held until the body comes; streams and the rest are uvicorn's business."""

    held: Any = None
    late = False

    def give_up_body(self) -> bool:
        """Tells a handler that waits for the body that it has waited long enough; False where none waits."""
        self.late = self.more_body and not self.response_started
        self.message_event.set()
        return self.late

    async def receive(self) -> Any:
        if not self.more_body and self.body and not self.disconnected:
            body, self.body = bytes(self.body), bytearray()
            self.message_event.clear()
            return {"type": "http.request", "body": body, "more_body": False}
        message = await super().receive()
        return {"type": "http.disconnect", "late": True} if self.late else message

    async def send(self, message: Any) -> None:
        start = self.held
        if start is None:
            if self.response_started or message["type"] != "http.response.start":
                await super().send(message)
            else:
                self.held = message
            return
        self.held = None
        if message.get("more_body"):
            await super().send(start)
            await super().send(message)
            return
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        self.response_started = True
        parts = [STATUS_LINE[start["status"]]]
        for name, value in (*self.default_headers, *start["headers"]):
            if name == b"connection":
                self.keep_alive = False
            else:
                parts += (name, b": ", value, b"\r\n")
        if not self.keep_alive:
            parts.append(b"connection: close\r\n")
        parts.append(b"\r\n")
        if self.scope["method"] != "HEAD":
            parts.append(message["body"])
        self.transport.write(b"".join(parts))
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
