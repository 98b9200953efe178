"""A proxy between the service and PostgreSQL that cuts the connection at a chosen moment of a chosen statement."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from enum import Enum
from urllib.parse import urlencode, urlsplit

from service.postgres import connection_string

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
NAME = re.compile(rb"-- name: (\w+)")
READY = b"Z\0\0\0\5I"


class Moment(Enum):
    PREPARED = "when it was to be prepared"
    BEFORE = "before the statement arrived"
    BETWEEN = "while it ran"
    AFTER = "after it ran, before the answer"


class PostgresProxy:
    """`silent`: reads every byte and passes none on. `hides_end`: stays open after PostgreSQL has closed."""

    def __init__(self, database_url: str) -> None:
        target = connection_string.parse(database_url)
        self._host, self._port = target.connect["host"], target.connect["port"]
        self._database_url = database_url
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self._cut: tuple[str, Moment] | None = None
        self._before_cut: Callable[[], object] = bool
        self.cuts_left = self.opened = 0
        """`opened`: the number of all connections until now."""
        self.sent: Counter[str] = Counter()
        """The number of times that each statement was sent."""
        self.silent = self.hides_end = False

    def url(self, **parameters: str) -> str:
        """The URL of the database through this proxy."""
        user = urlsplit(self._database_url).netloc.rpartition("@")[0]
        through = f"{user}@127.0.0.1:{self.port}"
        query = urlencode({"sslmode": "disable", **parameters})
        return urlsplit(self._database_url)._replace(netloc=through, query=query).geturl()

    @property
    def open(self) -> int:
        """The number of open connections."""
        return len(self._connections)

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Stops listening; open connections stay open."""
        assert self._server
        self._server.close()

    def drop(self, *, unseen: bool = False) -> None:
        """Closes all connections; `unseen`: only when the service sends its next message."""
        for connection in list(self._connections):
            if unseen:
                connection.doomed = True
            else:
                connection.close()

    async def dial(self) -> Streams:
        if self._host.startswith("/"):
            return await asyncio.open_unix_connection(f"{self._host}/.s.PGSQL.{self._port}")
        return await asyncio.open_connection(self._host, self._port)

    def cut(self, name: str, moment: Moment, times: int = 1, before: Callable[[], object] = bool) -> None:
        """Cuts the next `times` connections at this moment of this statement; calls `before` before each cut."""
        self._cut, self.cuts_left, self._before_cut = (name, moment), times, before

    def take_cut(self, name: str, moments: set[Moment]) -> Moment | None:
        """The moment at which to cut this statement now, if it is one of `moments`."""
        if not self.cuts_left or self._cut is None or self._cut[0] != name or self._cut[1] not in moments:
            return None
        self.cuts_left -= 1
        self._before_cut()
        return self._cut[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server = await self.dial()
        except OSError:
            writer.close()
            return
        connection = Connection(self, (reader, writer), server)
        self._connections.add(connection)
        self.opened += 1
        try:
            await connection.run()
        finally:
            connection.close()
            self._connections.discard(connection)


class Connection:
    """One connection of the service, passed on to PostgreSQL message by message."""

    def __init__(self, proxy: PostgresProxy, service: Streams, server: Streams) -> None:
        self._proxy = proxy
        self._from_service, self._to_service = service
        self._from_server, self._to_server = server
        self._names: dict[bytes, str] = {}
        self._cut: Moment | None = None
        self.doomed = False

    async def run(self) -> None:
        ways = {asyncio.create_task(self._requests()), asyncio.create_task(self._answers())}
        _, running = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        if running and self._cut and not self._from_server.at_eof():
            # Lets PostgreSQL finish the statement, although its answer is discarded.
            await asyncio.wait(running)
        for way in running:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)

    def close(self) -> None:
        self._to_service.transport.abort()
        self._to_server.close()

    async def _requests(self) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            kind = b""  # the first message has no type byte
            while True:
                head = await self._from_service.readexactly(5 if kind else 4)
                body = await self._from_service.readexactly(int.from_bytes(head[-4:], "big") - 4)
                moment = self._moment(kind := head[:1] if kind else b"-", body)
                if self.doomed or moment in (Moment.PREPARED, Moment.BEFORE):
                    return
                self._cut = self._cut or moment
                if not self._proxy.silent:
                    self._to_server.write(head + body)
                if self._cut and kind == b"S":
                    if self._cut is Moment.BETWEEN:
                        self._to_service.transport.abort()
                    return

    def _moment(self, kind: bytes, body: bytes) -> Moment | None:
        """The moment to cut at, if this message is it: P (Parse) prepares, B (Bind) begins the execution."""
        if kind == b"P":
            statement, sql = body.split(b"\0")[:2]
            found = NAME.search(sql)
            self._names[statement] = found[1].decode() if found else ""
            return self._proxy.take_cut(self._names[statement], {Moment.PREPARED})
        if kind == b"B":
            statement = body.split(b"\0")[1]
            self._proxy.sent[self._names[statement]] += 1
            return self._proxy.take_cut(self._names[statement], set(Moment) - {Moment.PREPARED})
        return None

    async def _answers(self) -> None:
        answer = b""
        with suppress(OSError):
            while data := await self._from_server.read(65536):
                if self._cut:
                    answer += data
                    if answer.endswith(READY):
                        return
                elif not self._proxy.silent:
                    self._to_service.write(data)
            if self._proxy.hides_end:
                await asyncio.Event().wait()


@asynccontextmanager
async def postgres_proxy(database_url: str) -> AsyncIterator[PostgresProxy]:
    """A proxy to this database until the block ends."""
    proxy = PostgresProxy(database_url)
    await proxy.listen()
    try:
        yield proxy
    finally:
        await proxy.refuse()
        proxy.drop()
        while proxy.open:
            await asyncio.sleep(0.01)
