"""What the service says on stdout: a line for each request, and log records in the same form.

JSON, one object a line, or readable where a terminal shows it. Nothing here writes what a client sent: no path, no
query, no body, no token. The exceptions that quote values are stopped in `_cause`.
"""

import asyncio
import contextlib
import functools
import json
import logging
import sys
import time
import traceback
from collections.abc import Iterator
from typing import Any

import asyncpg
from starlette.types import Scope

WRITE_SECONDS = 0.2
WRITE_BYTES = 4096
"""What a pipe takes in one piece (PIPE_BUF), so that lines of several workers never mix."""
LONGEST_ADDRESS = 64
"""Characters; a trusted proxy may pass on anything as the client's address."""


def config(level: str) -> dict[str, Any]:
    """For logging.config.dictConfig: uvicorn applies it in each of its processes."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": {"()": "service.log.Formatter"}},
        "handlers": {"stdout": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "lines"}},
        "root": {"level": level.upper(), "handlers": ["stdout"]},
    }


class RequestLog:
    """Gathers lines and writes many at once: a `write` for each would cost more than all of our Python."""

    def __init__(self) -> None:
        self._readable = sys.stdout.isatty()
        self._lines: list[str] = []
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._second = 0
        self._time = ""

    def request(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        """Notes an answered request. The id matches CLIENT_REQUEST_ID or is ours, so that it needs no quoting."""
        now = time.time()
        if int(now) != self._second:
            self._second, self._time = int(now), _time(now)
        stamp = f"{self._time}.{int(now % 1 * 1000):03d}"
        route = scope.get("route")
        path = f'"{route.path}"' if route else "null"
        user = f'"{scope["user"]}"' if "user" in scope else "null"
        client = _quoted(scope["client"][0][:LONGEST_ADDRESS]) if scope["client"] else "null"
        method, milliseconds = scope["method"], seconds * 1000
        if self._readable:
            line = f"{stamp[11:]} {status} {method} {path} {milliseconds:.1f} ms, user {user}, {client}, {request_id}\n"
        else:
            line = (
                f'{{"time": "{stamp}Z", "id": "{request_id}", "method": "{method}", "route": {path},'
                f' "status": {status}, "milliseconds": {milliseconds:.1f}, "user_id": {user}, "client": {client}}}\n'
            )
        if self._bytes + len(line) > WRITE_BYTES:
            self.write()
        self._lines.append(line)
        self._bytes += len(line)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WRITE_SECONDS, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self.write()

    def write(self) -> None:
        """Writes what has been gathered."""
        lines, self._lines, self._bytes = self._lines, [], 0
        with contextlib.suppress(OSError):  # the reader is gone: no reason to stop serving
            sys.stdout.write("".join(lines))
            sys.stdout.flush()


class Formatter(logging.Formatter):
    """Log records, uvicorn's own included; an exception with all of its causes."""

    def __init__(self) -> None:
        super().__init__()
        self._readable = sys.stdout.isatty()

    def format(self, record: logging.LogRecord) -> str:
        stamp = f"{_time(record.created)}.{int(record.msecs):03d}"
        fields = {"time": f"{stamp}Z", "level": record.levelname.lower(), "logger": record.name}
        fields["message"] = record.getMessage().strip()
        if request_id := getattr(record, "request_id", None):
            fields["id"] = request_id
        if record.exc_info and record.exc_info[1]:
            causes = list(_causes(record.exc_info[1]))
            fields["error"] = ", because of ".join(map(_cause, causes))
            # The frames without the exceptions' own texts, which `error` has, as far as they may be shown.
            fields["trace"] = "\n".join("".join(traceback.format_tb(cause.__traceback__)) for cause in causes)
        if not self._readable:
            return json.dumps(fields)
        parts = [stamp[11:], record.levelname, *list(fields.values())[3:]]
        # A line feed is ours, in the trace; any other character that moves the cursor is shown as its escape.
        return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in " ".join(parts))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _cause(error: BaseException) -> str:
    """Type and first line of the text: the lines after it quote rows (PostgreSQL's DETAIL) and input (pydantic)."""
    name = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    first = str(error).partition("\n")[0]
    # These quote the value itself, in the first line too.
    return name if isinstance(error, (asyncpg.DataError, UnicodeError)) or not first else f"{name}: {first}"


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


@functools.lru_cache(1024)
def _quoted(text: str) -> str:
    return json.dumps(text)
