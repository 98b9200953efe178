"""The service as a real process that listens on a port of its own choice."""

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.api import ORIGIN, SECRET

PROJECT = Path(__file__).parent.parent
ANSWERS = re.compile(r"answers at (http://127\.0\.0\.1:(\d+))")


@dataclass(frozen=True)
class Live:
    url: str
    port: int
    log: Path


@contextmanager
def start(database_url: str, **environment: str) -> Iterator[Live]:
    """Runs `python -m service` in an empty folder, so that no .env file is read."""
    command = [sys.executable, "-m", "service"]
    values = {"DATABASE_URL": database_url, "BETTER_AUTH_SECRET": SECRET, "FRONTEND_URL": ORIGIN, "PORT": "0"}
    values |= {"PYTHONPATH": str(PROJECT), **environment}
    with tempfile.TemporaryDirectory(prefix="todo-live-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(command, cwd=folder, env={**os.environ, **values}, stdout=output, stderr=output)
        try:
            url, port = _address(log, process)
            yield Live(url, port, log)
        finally:
            process.terminate()
            process.wait(timeout=30)


def _address(log: Path, process: subprocess.Popen[bytes]) -> tuple[str, int]:
    deadline = time.monotonic() + 20
    while not (answers := ANSWERS.search(log.read_text())):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the service did not start:\n{log.read_text()}")
        time.sleep(0.02)
    return answers[1], int(answers[2])


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


async def read(reader: asyncio.StreamReader, method: str = "GET") -> Answer:
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    length = 0 if method == "HEAD" or first.split()[1] == "204" else int(headers["content-length"])
    return Answer(int(first.split()[1]), headers, await reader.readexactly(length))


async def exchange(live: Live, sent: bytes) -> Answer:
    """What the service answers to these bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
    writer.write(sent)
    try:
        return await read(reader)
    finally:
        writer.close()
