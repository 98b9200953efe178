"""One client's connection: uvicorn's HTTP protocol with limits, and with errors in JSON."""

import asyncio
import math
import select
from collections import deque
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.web import connection_limits
from service.web.uvicorn_internals.one_write import OneWriteCycle, last_answer

NO_HEADERS: deque[tuple[bytes, bytes]] = deque(maxlen=0)
"""Drops what is appended."""


ASGI_VERSIONS = {"version": "3.0", "spec_version": "2.3"}


class Connection(HttpToolsProtocol):
    _stopping = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.client and self.client[0].startswith("::ffff:"):
            # An IPv4 address on an IPv6 socket. TRUSTED_PROXIES, the login limits and the log know its usual spelling.
            self.client = (self.client[0].removeprefix("::ffff:"), self.client[1])
        self._unsent = self.app_state.setdefault("unsent_answers", connection_limits.UnsentAnswers(self.loop))
        self._deadline = self.loop.time() + connection_limits.ARRIVAL_SECONDS
        self._overhead = 0
        # One lazy timer for a connection instead of two for each request: 3% of a worker's instructions.
        self._timer = self.loop.call_later(connection_limits.ARRIVAL_SECONDS, self._close_if_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._unsent.discard(self.transport)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unsent.add(self.transport)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unsent.discard(self.transport)

    def data_received(self, data: bytes) -> None:
        self._deadline = min(self._deadline, self.loop.time() + connection_limits.ARRIVAL_SECONDS)
        self._overhead += len(data)
        super().data_received(data)
        if self._overhead > connection_limits.OVERHEAD_BYTES:
            self.transport.close()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keeps the connection open for the answer when the client has closed its sending half."""
        is_kept = self._close_after_answer()
        if is_kept and isinstance(self.cycle, OneWriteCycle):
            self.cycle.tell_half_closed()
        return is_kept

    # The next three are uvicorn's with our limits in them, not calls of super(): a get takes 10.8% fewer instructions.
    # Left out is what this service does not use: root_path, WebSockets, limit_concurrency.

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= connection_limits.PIPELINED_REQUESTS:
            raise ValueError  # httptools reports it as a parser error
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._deadline = self.loop.time() + connection_limits.ARRIVAL_SECONDS
        self._overhead = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) == connection_limits.HEADERS:
            raise ValueError
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        version = self.parser.get_http_version()
        previous, self.cycle = self.cycle, self._new_cycle(self._new_scope(version))
        # httptools reports trailers as headers. A proxy may check headers and let trailers pass.
        self.headers = NO_HEADERS  # type: ignore[assignment]
        # The parser reads nothing after an upgrade request, and upgrades are refused.
        if self._stopping or version == "1.0" or self.parser.should_upgrade() or not self.parser.should_keep_alive():
            self.cycle.keep_alive = False
        if previous is None or previous.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def _new_scope(self, version: str) -> Any:
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        return {
            "type": "http",
            "asgi": ASGI_VERSIONS,
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme or "http",
            "method": self.parser.get_method().decode("ascii"),
            "root_path": "",
            "path": unquote(path) if "%" in path else path,
            "raw_path": url.path,
            "query_string": url.query or b"",
            "headers": self.headers,
            "state": self.app_state,
        }

    def _new_cycle(self, scope: Any) -> OneWriteCycle:
        return OneWriteCycle(
            scope,
            self.transport,
            self.flow,
            self.logger,
            self.access_logger,
            self.access_log,
            self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=True,
            on_response=self.on_response_complete,
        )

    def on_body(self, body: bytes) -> None:
        self._overhead -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._deadline = self.loop.time() + self.timeout_keep_alive if self.cycle.response_complete else math.inf
        self._overhead = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """As uvicorn's, without its timer: _close_if_late closes idle connections."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._deadline == math.inf:
            self._deadline = self.loop.time() + self.timeout_keep_alive

    def send_400_response(self, msg: str) -> None:
        """In JSON. A complete request before the bad bytes is answered first, and its answer is the last one."""
        if self._close_after_answer():
            self.transport.pause_reading()
            return
        if not self.pipeline:
            self.transport.write(last_answer(400, "The request is not valid HTTP"))
        self.transport.close()

    def _close_after_answer(self) -> bool:
        """Makes the answer to the newest request the last one; False if no complete request waits for its answer."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete or cycle.more_body:
            return False
        cycle.keep_alive = False
        return True

    def shutdown(self) -> None:
        """Closes an idle connection after LINGER_SECONDS, because a request may be on its way."""
        self._stopping = True
        if self.cycle is None or self.cycle.response_complete:
            self.timeout_keep_alive_task = self.loop.call_later(
                connection_limits.LINGER_SECONDS, self.timeout_keep_alive_handler
            )
        else:
            self.cycle.keep_alive = False

    def timeout_keep_alive_handler(self) -> None:
        """Closes an idle connection, unless a request has arrived that is not read yet."""
        if not self.transport.is_closing():
            poll = select.poll()
            poll.register(self.transport.get_extra_info("socket"), select.POLLIN)
            if not poll.poll(0):
                self.transport.close()

    def _unsupported_upgrade_warning(self) -> None:
        """Nothing: clients may ask for upgrades as often as they like, and none of it is worth a log line."""

    def _close_if_late(self) -> None:
        delay = min(self._deadline - self.loop.time(), connection_limits.ARRIVAL_SECONDS)
        if delay > 0:
            self._timer = self.loop.call_later(delay, self._close_if_late)
        elif isinstance(self.cycle, OneWriteCycle) and self.cycle.give_up_body():
            self._timer = self.loop.call_later(connection_limits.LINGER_SECONDS, self.transport.close)
        else:
            self.transport.close()
