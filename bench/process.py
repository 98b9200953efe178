"""Starts a contestant as in production, and stops it with all its workers."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.contestants import Contestant
from bench.database import ROOT, Database, free_port
from bench.load import ORIGIN, SECRET
from bench.pythons import CACHE
from service.postgres.pool import POOL_SIZE


@dataclass(frozen=True)
class Running:
    port: int
    pid: int


@contextmanager
def running(contestant: Contestant, database: Database, workers: int) -> Iterator[Running]:
    """Starts it as in production, waits until it answers, and at the end stops it with all its workers."""
    port = free_port()
    environment = os.environ | {
        "DATABASE_URL": database.url,
        "BETTER_AUTH_SECRET": SECRET,
        "FRONTEND_URL": ORIGIN,
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "WORKERS": str(workers),
        "POOL_SIZE": str(POOL_SIZE),
        "LOG_LEVEL": "info",
        "NODE_ENV": "production",
    }
    CACHE.mkdir(exist_ok=True)
    log = CACHE / f"{contestant.name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            contestant.command(environment), cwd=contestant.folder, env=environment,
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
    try:
        if (status := wait_for_answer(port, process)) != 401:
            sys.exit(f"{contestant.name} does not start (status {status}); its output is in {log.relative_to(ROOT)}.")
        yield Running(port, process.pid)
    finally:
        stop(process)


def wait_for_answer(port: int, process: subprocess.Popen[bytes], seconds: float = 30) -> int | None:
    """The status of the first answer, to a list without a token; it is 401 for every contestant."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/tasks", timeout=5)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            time.sleep(0.01)
    return None


def largest(session: int) -> float:
    """The resident memory (MB) of the largest process of a contestant: one of its workers."""
    sizes = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # the process has just ended
            # man 5 proc: the name is in parentheses and may contain blanks; the session and the pages follow it.
            fields = status.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                sizes.append(int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 1e6)
    return max(sizes)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Sends SIGTERM as in production; after ten seconds, kills the whole process group."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(10)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
