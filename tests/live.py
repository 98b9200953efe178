"""The service as a real process that listens on a port of its own choice."""

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

from tests.api import ORIGIN, SECRET

PROJECT = Path(__file__).parent.parent
LISTENING = re.compile(r"running on (http://127\.0\.0\.1:(\d+))")


@dataclass(frozen=True)
class Live:
    url: str
    port: int
    log: Path


@contextmanager
def start(database_url: str, **environment: str) -> Iterator[Live]:
    """Runs `uvicorn --factory service.app:create_app` in an empty folder, so that no .env file is read."""
    command = [sys.executable, "-m", "uvicorn", "--factory", "service.app:create_app", "--port", "0"]
    command += ["--app-dir", str(PROJECT)]
    values = {"DATABASE_URL": database_url, "BETTER_AUTH_SECRET": SECRET, "FRONTEND_URL": ORIGIN, **environment}
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
    while not (listening := LISTENING.search(log.read_text())):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the service did not start:\n{log.read_text()}")
        time.sleep(0.02)
    return listening[1], int(listening[2])
