"""A development database that hangs, stops slowly, or lost its socket: told in a sentence, within a limit."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import psycopg
import pytest

from embedded import server
from embedded.postgres import Embedded
from embedded.programs import EmbeddedError
from tests.support import commands
from tests.support.commands import PROJECT
from tests.support.guard import processes_of

LEAVE = "import os, sys, pathlib, embedded.postgres as e; e.Embedded(pathlib.Path(sys.argv[1]), print).start()"


@pytest.fixture
def left(tmp_path: Path) -> Iterator[Path]:
    """A DATA_DIR whose server runs, but the process that started it was killed."""
    subprocess.run([sys.executable, "-c", LEAVE, tmp_path / "data"], check=True, cwd=PROJECT)
    yield tmp_path / "data"
    for process in processes_of(tmp_path / "data"):
        with suppress(psutil.Error):  # it ended with the one before
            process.kill()


def pid_file(data_dir: Path) -> Path:
    return data_dir / "postgres/data/postmaster.pid"


def postmaster(data_dir: Path) -> int:
    return int(pid_file(data_dir).read_text().split()[0])


def test_a_server_that_hangs_is_told_and_keeps_its_pid_file(left: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "WAIT_SECONDS", 2)
    pid, before = postmaster(left), pid_file(left).read_bytes()
    said: list[str] = []
    os.kill(pid, signal.SIGSTOP)
    database = Embedded(left, said.append)
    with pytest.raises(EmbeddedError) as raised:
        database.start()
    database.stop()
    assert str(raised.value) == (
        f"The database in DATA_DIR={left} neither answers nor ends: "
        f"end its process, for example with `kill -QUIT {pid}`."
    )
    assert said == [
        f"Waiting for the database in {left}, which is starting or stopping …",
        f"The database in {left} does not stop: end its process, {pid}.",
    ]
    assert pid_file(left).read_bytes() == before


def test_a_server_without_its_socket_keeps_its_pid_file(left: Path) -> None:
    pid, before = postmaster(left), pid_file(left).read_bytes()
    (left / "postgres/data/.s.PGSQL.5432").unlink()
    database = Embedded(left, print)
    with pytest.raises(EmbeddedError, match=f"Is another postmaster .PID {pid}. running in data directory"):
        database.start()
    database.stop()
    assert pid_file(left).read_bytes() == before


def test_a_start_that_waits_is_interrupted_by_a_signal(left: Path) -> None:
    os.kill(postmaster(left), signal.SIGSTOP)
    process = commands.start(left.parent, "service", DATA_DIR=str(left))
    assert process.stdout
    assert process.stdout.readline().startswith("Waiting for the database in ")
    process.send_signal(signal.SIGINT)
    status, output, errors = commands.finish(process)
    assert (status, errors) == (0, "")
    assert output.splitlines()[-1] == "Stopped."


def test_a_server_that_stops_is_waited_for_and_started_again(left: Path) -> None:
    pid = postmaster(left)
    said: list[str] = []
    database = Embedded(left, said.append)
    with tempfile.TemporaryDirectory() as short, ThreadPoolExecutor() as threads:
        (Path(short) / "db").symlink_to(left / "postgres/data")
        with psycopg.connect(host=f"{short}/db", port="5432", user="postgres", dbname="postgres"):
            os.kill(pid, signal.SIGTERM)  # PostgreSQL's smart shutdown: as soon as nobody is connected
            starting = threads.submit(database.start)
            while not said:
                time.sleep(0.05)
            assert not starting.done()
        starting.result()
    assert said == [f"Waiting for the database in {left}, which is starting or stopping …"]
    assert postmaster(left) != pid
    database.stop()
