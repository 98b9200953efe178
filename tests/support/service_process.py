"""The service as a process: `python -m service` with its own HTTP protocol, on a port that the system chooses."""

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from tests.support.api import ORIGIN, SECRET
from tests.support.commands import environment

ANSWERS = re.compile(r"The service answers at (http://127\.0\.0\.1:(\d+))")
START_SECONDS = 30


@dataclass(frozen=True)
class ServiceProcess:
    url: str
    port: int
    log: Path
    """The file that gets stdout and stderr."""
    pid: int

    def memory(self) -> int:
        """Bytes of private memory of the process and its workers."""
        process = psutil.Process(self.pid)
        return sum(int(each.memory_full_info().uss) for each in (process, *process.children(recursive=True)))


@contextmanager
def start_service(database_url: str, **settings: str) -> Iterator[ServiceProcess]:
    """Runs the service in an empty folder, so that it reads no .env file; stops it when the block ends."""
    values = {
        "DATABASE_URL": database_url,
        "BETTER_AUTH_SECRET": SECRET,
        "FRONTEND_URL": ORIGIN,
        "PORT": "0",
        **settings,
    }
    with tempfile.TemporaryDirectory(prefix="todo-service-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as output:
            command = [sys.executable, "-m", "service"]
            process = subprocess.Popen(command, cwd=folder, env=environment(**values), stdout=output, stderr=output)
        try:
            url, port = _address(log, process)
            yield ServiceProcess(url, port, log, process.pid)
        finally:
            process.terminate()
            process.wait(timeout=30)


def _address(log: Path, process: subprocess.Popen[bytes]) -> tuple[str, int]:
    deadline = time.monotonic() + START_SECONDS
    while not (answers := ANSWERS.search(log.read_text())):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the service did not start:\n{log.read_text()}")
        time.sleep(0.02)
    return answers[1], int(answers[2])
