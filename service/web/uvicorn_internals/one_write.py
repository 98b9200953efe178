"""One request and its answer: uvicorn's cycle, with one `write` for head and body.

uvicorn writes them apart, and a `write` to a socket is the most expensive thing that a request does: half of a worker's
time on the list of 20 was spent there, and a third less with one `write`.
"""

import json
import secrets
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from service.web.connection_limits import LARGE_ANSWER_BYTES


class OneWriteCycle(RequestResponseCycle):
    """Holds the start of an answer until its body comes. An answer in several parts is sent by uvicorn's own code."""

    start: Any = None
    """The `http.response.start` that waits for its body."""
    late = False
    half_closed = False

    def give_up_body(self) -> bool:
        """Ends the wait of a handler for the request's body; False if none waits."""
        self.late = self.more_body and not self.response_started
        self.message_event.set()
        return self.late

    def tell_half_closed(self) -> None:
        """Wakes whoever waits for the client to leave: a client that closes its connection is not told from one that
        has closed its sending half and waits for the answer."""
        self.half_closed = True
        self.message_event.set()

    async def receive(self) -> Any:
        if not self.more_body and self.body and not self.disconnected:
            body, self.body = bytes(self.body), bytearray()
            self.message_event.clear()
            return {"type": "http.request", "body": body, "more_body": False}
        message = await super().receive()
        if self.late:
            return {"type": "http.disconnect", "late": True}
        return message | {"half_closed": True} if self.half_closed else message

    async def send(self, message: Any) -> None:
        start = self.start
        if start is None:
            if self.response_started or message["type"] != "http.response.start":
                await super().send(message)
            else:
                self.start = message
            return
        self.start = None
        if message["type"] != "http.response.body" or message.get("more_body"):
            await super().send(start)
            await super().send(message)
            return
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if not self.disconnected:
            self._write(start, message.get("body", b""))

    def _write(self, start: Any, body: bytes) -> None:
        self.response_started = True
        sized = start["status"] in (204, 304)
        parts = [STATUS_LINE[start["status"]]]
        for name, value in (*self.default_headers, *start.get("headers", ())):
            if name == b"connection":
                self.keep_alive = False
                continue
            if name == b"content-length":
                sized = True
            parts += (name, b": ", value, b"\r\n")
        if not sized:
            parts.append(b"content-length: %d\r\n" % len(body))
        parts.append(b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")
        if self.scope["method"] == "HEAD":
            body = b""
        if len(body) < LARGE_ANSWER_BYTES:
            parts.append(body)
            self.transport.write(b"".join(parts))
        else:
            # One write, too, without a copy of the body.
            self.transport.writelines((b"".join(parts), body))
        self._complete()

    async def send_500_response(self) -> None:
        """Called by uvicorn when the application ended without an answer. What it had started is dropped."""
        self.start = None
        self.response_started = True
        self.keep_alive = False
        self.transport.write(last_answer(500, "Internal server error"))
        self._complete()

    def _complete(self) -> None:
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


def last_answer(status: int, sentence: str) -> bytes:
    """The last answer of a connection, where the application made none: with the headers of every answer but CORS."""
    body = json.dumps({"error": sentence}).encode()
    head = (
        b"content-type: application/json\r\nx-content-type-options: nosniff\r\nvary: Origin\r\n"
        b"x-request-id: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
    )
    return STATUS_LINE[status] + head % (secrets.token_hex(12).encode(), len(body)) + body
