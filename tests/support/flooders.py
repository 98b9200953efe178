"""`python -m tests.support.flooders PORT SECONDS`: 64 clients that log in without pause, in a process of their own, for
they would slow down whoever measures beside them. Prints a JSON list of [status, seconds]."""

import asyncio
import json
import sys
import time

from tests.support.api import PASSWORD

CLIENTS = 64
EMAIL = "ada@example.com"


class Client:
    """The plainest HTTP client, which leaves the processor to the service."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, port: int) -> "Client":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def call(self, request: bytes) -> tuple[int, bytes, bytes]:
        """Status, head and body of the answer."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        return int(head[9:12]), head, await self._reader.readexactly(length)

    def close(self) -> None:
        self._writer.close()


async def log_in_without_pause(port: int, number: int, end: float, log_ins: list[tuple[int, float]]) -> None:
    password = PASSWORD if number % 2 else "a wrong password"
    body = json.dumps({"email": EMAIL, "password": password}).encode()
    request = b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    client = await Client.connect(port)
    while time.monotonic() < end:
        began = time.monotonic()
        status, head, answer = await client.call(request)
        log_ins.append((status, time.monotonic() - began))
        assert b"content-type: application/json\r\n" in head
        json.loads(answer)
    client.close()


async def flood(port: int, seconds: float) -> list[tuple[int, float]]:
    log_ins: list[tuple[int, float]] = []
    end = time.monotonic() + seconds
    await asyncio.gather(*(log_in_without_pause(port, number, end, log_ins) for number in range(CLIENTS)))
    return log_ins


if __name__ == "__main__":
    print(json.dumps(asyncio.run(flood(int(sys.argv[1]), float(sys.argv[2])))))
