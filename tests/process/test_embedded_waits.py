"""A development database that hangs, stops slowly or lost its socket: one sentence, after a limited time."""

import os
import signal
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
from tests.support.data_dir import leave_server_running, pid_file, postmaster_pid
from tests.support.guard import processes_of


@pytest.fixture
def left(tmp_path: Path) -> Iterator[Path]:
    """A DATA_DIR whose server runs, although the process that started it has ended."""
    leave_server_running(tmp_path / "data")
    yield tmp_path / "data"
    for process in processes_of(tmp_path / "data"):
        with suppress(psutil.Error):  # it ended together with its parent
            process.kill()


def test_a_hanging_server_is_an_error_and_keeps_its_pid_file(left: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "WAIT_SECONDS", 2)
    pid, before = postmaster_pid(left), pid_file(left).read_bytes()
    messages: list[str] = []
    os.kill(pid, signal.SIGSTOP)
    database = Embedded(left, messages.append)
    with pytest.raises(EmbeddedError) as raised:
        database.start()
    database.stop()
    assert str(raised.value) == (
        f"The database in DATA_DIR={left} neither answers nor ends: "
        f"end its process, for example with `kill -QUIT {pid}`."
    )
    assert messages == [
        f"Waiting for the database in {left}, which is starting or stopping …",
        f"The database in {left} does not stop: end its process, {pid}.",
    ]
    assert pid_file(left).read_bytes() == before


def test_a_server_without_its_socket_keeps_its_pid_file(left: Path) -> None:
    pid, before = postmaster_pid(left), pid_file(left).read_bytes()
    (left / "postgres/data/.s.PGSQL.5432").unlink()
    database = Embedded(left, print)
    with pytest.raises(EmbeddedError, match=f"Is another postmaster .PID {pid}. running in data directory"):
        database.start()
    database.stop()
    assert pid_file(left).read_bytes() == before


def test_a_start_that_waits_is_interrupted_by_a_signal(left: Path) -> None:
    os.kill(postmaster_pid(left), signal.SIGSTOP)
    process = commands.start(left.parent, "service", DATA_DIR=str(left))
    assert process.stdout
    assert process.stdout.readline().startswith("Waiting for the database in ")
    process.send_signal(signal.SIGINT)
    status, output, errors = commands.finish(process)
    assert (status, errors) == (0, "")
    assert output.splitlines()[-1] == "Stopped."


def test_a_start_waits_for_a_stopping_server_and_starts_it_again(left: Path) -> None:
    pid = postmaster_pid(left)
    messages: list[str] = []
    database = Embedded(left, messages.append)
    with tempfile.TemporaryDirectory() as short, ThreadPoolExecutor() as threads:
        (Path(short) / "db").symlink_to(left / "postgres/data")
        with psycopg.connect(host=f"{short}/db", port="5432", user="postgres", dbname="postgres"):
            os.kill(pid, signal.SIGTERM)  # PostgreSQL's smart shutdown waits until no client is connected
            starting = threads.submit(database.start)
            while not messages:
                time.sleep(0.05)
            assert not starting.done()
        starting.result()
    assert messages == [f"Waiting for the database in {left}, which is starting or stopping …"]
    assert postmaster_pid(left) != pid
    database.stop()
