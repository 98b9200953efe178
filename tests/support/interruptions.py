"""Interrupts test runs with signals."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.support import start_everything
from tests.support.commands import PROJECT
from tests.support.guard import folder_in_memory, processes_of, runs
from tests.support.programs import find


def interrupt(*signals: signal.Signals, workers: int) -> None:
    """Interrupts a run that starts every kind of process; returns when none of its processes and files is left."""
    with tempfile.TemporaryDirectory(prefix="todo-") as name:
        folder, ready, log = (Path(name) / each for each in ("t", "ready", "log"))
        folder.mkdir()
        command = [sys.executable, "-m", "pytest", "-q", f"--numprocesses={workers}", start_everything.__file__]
        values = {"TMPDIR": str(folder), "READY": str(ready), "TEST_DATABASE_URL": "", "TEST_THROUGH": ""}
        with log.open("w") as output:
            run = subprocess.Popen(command, cwd=PROJECT, env=os.environ | values, stdout=output, stderr=output)
        wait_until(lambda: ready.exists() or run.poll() is not None)
        assert run.poll() is None, log.read_text()
        started, temporary = processes_of(folder), list(folder.iterdir())
        programs = {each for each in ("nginx", "pgbouncer", "chromium") if find(each)}
        assert {"postgres", *programs} <= {process.name() for process in started}
        for number in signals:
            run.send_signal(number)
            time.sleep(0.1)
        run.wait(60)
        wait_until(lambda: not any(map(runs, started)))
        wait_until(lambda: not list(folder.iterdir()))
        wait_until(lambda: not any(folder_in_memory(each).exists() for each in temporary))


def wait_until(condition: Callable[[], object]) -> None:
    """Waits without a limit of its own, because each test has a timeout."""
    while not condition():
        time.sleep(0.05)
