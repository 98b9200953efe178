"""Raw HTTP/1.1 over asyncio streams, for many simultaneous requests and for answers that a client library hides."""

import asyncio
from typing import NamedTuple

from tests.support.service_process import ServiceProcess

READ_SECONDS = 30


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


async def read(reader: asyncio.StreamReader, method: str = "GET") -> Answer:
    """Reads the next answer; `method` is that of its request."""
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), READ_SECONDS)).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    length = 0 if method == "HEAD" or first.split()[1] == "204" else int(headers["content-length"])
    return Answer(int(first.split()[1]), headers, await reader.readexactly(length))


async def exchange(service: ServiceProcess, sent: bytes) -> Answer:
    """Sends these bytes on a new connection and returns the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(sent)
    try:
        return await read(reader)
    finally:
        writer.close()
