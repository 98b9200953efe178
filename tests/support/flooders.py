"""`python -m tests.support.flooders PORT SECONDS [sign-up]`: 64 clients log in, or sign up and log in, without pause.

A separate process, so that it does not delay the measurements. Prints a JSON list of [status, seconds].
"""

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Iterator

from tests.support.api import PASSWORD

CLIENTS = 64
EMAIL = "ada@example.com"


class Client:
    """A minimal HTTP client, which uses little processor time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, port: int, address: str = "127.0.0.1") -> "Client":
        return cls(*await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0)))

    async def call(self, request: bytes) -> tuple[int, bytes, bytes]:
        """Status, head and body of the answer."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        return int(head[9:12]), head, await self._reader.readexactly(length)

    def close(self) -> None:
        self._writer.close()


def requests(number: int, sign_up: bool) -> Iterator[bytes]:
    """Endless log-ins; every second client has the right password. With `sign_up`, a sign-up precedes each log-in, with
    a new and a registered e-mail in turn."""
    log_in = post("login", EMAIL, PASSWORD if number % 2 else "a wrong password")
    for turn in itertools.count():
        if sign_up:
            yield post("signup", EMAIL if turn % 2 else f"new-{number}-{turn}@example.com", PASSWORD)
        yield log_in


def post(call: str, email: str, password: str) -> bytes:
    body = json.dumps({"email": email, "password": password}).encode()
    head = f"POST /api/auth/{call} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def send_without_pause(port: int, number: int, sign_up: bool, end: float) -> list[tuple[int, float]]:
    client = await Client.connect(port)
    answers: list[tuple[int, float]] = []
    for request in requests(number, sign_up):
        began = time.monotonic()
        if began >= end:
            break
        status, head, answer = await client.call(request)
        answers.append((status, time.monotonic() - began))
        assert b"content-type: application/json\r\n" in head
        json.loads(answer)
    client.close()
    return answers


async def flood(port: int, seconds: float, sign_up: bool) -> list[tuple[int, float]]:
    end = time.monotonic() + seconds
    answers = await asyncio.gather(*(send_without_pause(port, number, sign_up, end) for number in range(CLIENTS)))
    return list(itertools.chain(*answers))


if __name__ == "__main__":
    print(json.dumps(asyncio.run(flood(int(sys.argv[1]), float(sys.argv[2]), "sign-up" in sys.argv))))
