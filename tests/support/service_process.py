"""The service as a process: `python -m service` with its own HTTP protocol, on a port that the system chooses."""

import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import psutil  # type: ignore[import-untyped]

from tests.support.api import ORIGIN, SECRET
from tests.support.commands import environment
from tests.support.guard import runs

ANSWERS = re.compile(r"The service answers at (http://\S+:(\d+))")
START_SECONDS = 60
STOP_SECONDS = 60


class ServiceProcess:
    """The service, running in `folder`, where it would read a .env file. `url` is set by wait_until_it_answers."""

    url = ""
    port = 0

    def __init__(self, folder: Path, values: dict[str, str], python: str = sys.executable, **options: Any) -> None:
        """`options` are Popen's, for example another user."""
        self.log = folder / "log"
        """The file that gets stdout and stderr."""
        with self.log.open("wb") as output:
            options = {"cwd": folder, "env": environment(**values), "stdout": output, "stderr": output, **options}
            self.process = subprocess.Popen([python, "-m", "service"], **options)
        self.pid = self.process.pid

    @property
    def lines(self) -> list[str]:
        """Its messages for the person at the terminal: all lines that are not JSON."""
        return [line for line in self.log.read_text().splitlines() if not line.startswith("{")]

    def wait_for(self, words: str) -> str:
        """Waits for a line with these words and returns it; fails if the service ends before."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            running = self.process.poll() is None and time.monotonic() < deadline
            if found := [line for line in self.lines if words in line]:
                return found[0]
            if not running:
                raise RuntimeError(f"the service did not start:\n{self.log.read_text()}")
            time.sleep(0.02)

    def wait_until_it_answers(self) -> Self:
        self.wait_for("  curl ")
        answers = ANSWERS.search(self.log.read_text())
        assert answers
        self.url, self.port = answers[1], int(answers[2])
        return self

    def wait_for_workers(self, count: int) -> None:
        """Waits until the log says that workers have started for the `count`th time."""
        deadline = time.monotonic() + START_SECONDS
        while self.log.read_text().count("Application startup complete") < count:
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def processes(self) -> set[psutil.Process]:
        """The service and its workers."""
        process = psutil.Process(self.pid)
        return {process, *process.children(recursive=True)}

    def memory(self) -> int:
        """Bytes of private memory (USS) of all its processes."""
        return sum(int(process.memory_full_info().uss) for process in self.processes())

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stops it and returns its exit status; may be called twice."""
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)


@contextmanager
def start_service(database_url: str, **settings: str) -> Iterator[ServiceProcess]:
    """Runs the service in an empty folder, so that it reads no .env file; stops it when the block ends."""
    values = {"DATABASE_URL": database_url, "BETTER_AUTH_SECRET": SECRET, "FRONTEND_URL": ORIGIN, **settings}
    with tempfile.TemporaryDirectory(prefix="todo-service-") as folder:
        service = ServiceProcess(Path(folder), values)
        try:
            yield service.wait_until_it_answers()
        finally:
            service.stop()


def wait_until_gone(processes: set[psutil.Process], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while left := [process for process in processes if runs(process)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
