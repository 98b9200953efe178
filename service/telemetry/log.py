"""The log on stdout: a line for each request, and log records in the same form.

Each line is a JSON object, or readable text on a terminal. Of what a client sent, a line holds the method, the request
id and, behind a trusted proxy, the client's address, all checked or quoted and cut; never a path, query, body or token.
`_cause` leaves out the texts of exceptions that quote such values.
"""

import contextlib
import functools
import json
import logging
import sys
import traceback
from collections.abc import Iterator
from time import gmtime, strftime

import asyncpg

from service.telemetry.request_log import RequestRecord

WRITE_BYTES = 4096
"""PIPE_BUF: a pipe takes so much in one piece, so that lines of several workers never mix."""
MESSAGE_CHARACTERS = 1000
"""A log message may quote a client's address, and a trusted proxy may pass any text as one."""


RECORDS_PER_SECOND = 10
"""From one line of code in one process. A database that is away fails every request."""


def start(level: str) -> None:
    """Sends the log records of this process to stdout, from `level` on."""
    stdout = logging.StreamHandler(sys.stdout)
    stdout.setFormatter(Formatter())
    stdout.addFilter(RateLimit())
    logging.basicConfig(level=level.upper(), handlers=[stdout])


def write(records: list[RequestRecord]) -> None:
    """Writes a line for each request. Request ids need no quoting: they match CLIENT_REQUEST_ID or are our own."""
    readable = sys.stdout.isatty()
    piece = ""
    for answered, request_id, method, path, status, seconds, user_id, address in records:
        time, ms = _time(answered), f"{seconds * 1000:.1f}"
        route = f'"{path}"' if path else "null"
        user = f'"{user_id}"' if user_id else "null"
        # Cut and quoted, because a trusted proxy may pass any text as the client's address.
        client = _quoted(address[:64]) if address else "null"
        if readable:
            line = f"{time[11:]} {status} {method} {route} {ms} ms, user {user}, client {client}, id {request_id}\n"
        else:
            line = (
                f'{{"time": "{time}", "id": "{request_id}", "method": "{method}", "route": {route}, "status": {status},'
                f' "milliseconds": {ms}, "user_id": {user}, "client": {client}}}\n'
            )
        if len(piece) + len(line) > WRITE_BYTES:
            _write(piece)
            piece = ""
        piece += line
    _write(piece)


def _write(piece: str) -> None:
    with contextlib.suppress(OSError):  # nobody reads the log any more: the service goes on
        sys.stdout.write(piece)
        sys.stdout.flush()


class RateLimit(logging.Filter):
    """Leaves out what one line of code logs beyond RECORDS_PER_SECOND; the next record that passes has the count."""

    def __init__(self) -> None:
        super().__init__()
        self._counts: dict[tuple[str, int], tuple[int, int, int]] = {}
        """For each line of code: the second of its last record, how many passed in it, how many were left out since."""

    def filter(self, record: logging.LogRecord) -> bool:
        place, now = (record.pathname, record.lineno), int(record.created)
        second, passed, left_out = self._counts.get(place, (now, 0, 0))
        if second == now and passed == RECORDS_PER_SECOND:
            self._counts[place] = (now, passed, left_out + 1)
            return False
        self._counts[place] = (now, passed + 1 if second == now else 1, 0)
        if left_out:
            record.msg = f"{record.msg} ({left_out} more were left out)"
        return True


class Formatter(logging.Formatter):
    """Formats log records, those of uvicorn too; an exception with its causes. A warning is for the operator and has
    no trace; an error is for whoever mends the code, and has one."""

    def format(self, record: logging.LogRecord) -> str:
        # uvicorn's own logger for everything but requests is called "uvicorn.error".
        logger = record.name.removesuffix(".error") if record.name.startswith("uvicorn.") else record.name
        fields = {"time": _time(record.created), "level": record.levelname.lower(), "logger": logger}
        fields["message"] = record.getMessage().strip()[:MESSAGE_CHARACTERS]
        if request_id := getattr(record, "request_id", None):
            fields["id"] = request_id
        if record.exc_info and record.exc_info[1]:
            causes = list(_causes(record.exc_info[1]))
            fields["error"] = ", because of ".join(map(_cause, causes))
            if record.levelno >= logging.ERROR:
                # Without the texts of the exceptions: `error` holds those that may be shown.
                fields["trace"] = "\n".join("".join(traceback.format_tb(cause.__traceback__)) for cause in causes)
        if not sys.stdout.isatty():
            return json.dumps(fields)
        # Line feeds come from the trace. Any other character that is not printable could move the cursor.
        return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in " ".join(fields.values()))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _cause(error: BaseException) -> str:
    """Type and first line of the text. The lines after it quote rows (PostgreSQL's DETAIL) and input (pydantic)."""
    if isinstance(error, (asyncpg.DataError, UnicodeError)):  # their first line quotes the value
        return type(error).__name__
    return f"{type(error).__name__}: {error}".partition("\n")[0]


def _time(seconds: float) -> str:
    return f"{_second(int(seconds))}.{int(seconds % 1 * 1000):03d}Z"


@functools.lru_cache(2)
def _second(seconds: int) -> str:
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(seconds))


@functools.lru_cache(1024)
def _quoted(text: str) -> str:
    return json.dumps(text)
