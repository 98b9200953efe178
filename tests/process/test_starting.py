"""Start and restart of workers: when the port is open, failures, signals and the limit on file descriptors."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from tests.support.api import SECRET
from tests.support.commands import PROJECT, environment, finish, start
from tests.support.programs import missing, program
from tests.support.service_process import start_service
from tests.support.tls import free_port

SECONDS = 30


def wait_for(what: str, found: object) -> None:
    """Calls `found` until it returns a true value."""
    deadline = time.monotonic() + SECONDS
    while not found():  # type: ignore[operator]
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def worker_processes(pid: int) -> list[psutil.Process]:
    found = []
    for process in psutil.Process(pid).children():
        with contextlib.suppress(psutil.Error):
            if "spawn_main" in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def freeze_workers(pid: int, count: int, but: tuple[psutil.Process, ...] = ()) -> list[psutil.Process]:
    """Suspends new workers as soon as they exist, like a very busy machine."""
    frozen: list[psutil.Process] = []

    def all_frozen() -> bool:
        for worker in worker_processes(pid):
            if worker not in (*frozen, *but):
                worker.suspend()
                frozen.append(worker)
        return len(frozen) == count

    wait_for(f"{count} workers", all_frozen)
    return frozen


def blocks_sigint(process: psutil.Process) -> bool:
    (mask,) = re.findall(r"^SigBlk:\s*(\w+)$", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
    return bool(int(mask, 16) & 1 << signal.SIGINT - 1)


def is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def is_answered(port: int) -> bool:
    with contextlib.suppress(httpx.ConnectError):
        return httpx.get(f"http://127.0.0.1:{port}/livez", timeout=5).status_code == 200
    return False


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the code that a test may break."""
    for folder in ("service", "sql"):
        shutil.copytree(PROJECT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@contextlib.contextmanager
def broken(folder: Path) -> Iterator[None]:
    """Breaks the copy, as a failed deployment does: no new process can import the service."""
    module = folder / "service/tasks.py"
    text = module.read_text()
    module.write_text("this is no Python")
    try:
        yield
    finally:
        module.write_text(text)


def test_the_port_is_closed_until_a_worker_is_ready(database_url: str, tmp_path: Path) -> None:
    port = free_port()
    values = {"DATABASE_URL": database_url, "BETTER_AUTH_SECRET": SECRET, "PORT": str(port), "WORKERS": "2"}
    process = start(tmp_path, "service", **values)
    try:
        frozen = freeze_workers(process.pid, 2)
        assert is_refused(port), "a request would wait although no worker is ready"
        if sys.platform == "linux":
            assert all(map(blocks_sigint, frozen)), "Ctrl-C would interrupt an import with a traceback"
        frozen[0].resume()
        wait_for("an answer from the first worker", lambda: is_answered(port))
        frozen[1].resume()
    finally:
        process.send_signal(signal.SIGTERM)
        status, output, errors = finish(process)
    assert (status, errors) == (0, "")
    assert output.count("The service answers at") == 1


def test_the_port_is_closed_while_all_workers_have_ended(database_url: str) -> None:
    with start_service(database_url, WORKERS="2") as service:
        service.wait_for_workers(2)
        killed = tuple(worker_processes(service.pid))
        for worker in killed:
            worker.kill()
        frozen = freeze_workers(service.pid, 2, but=killed)
        if sys.platform == "linux":
            wait_for("a refused connection", lambda: is_refused(service.port))
        for worker in frozen:
            worker.resume()
        wait_for("an answer", lambda: is_answered(service.port))
        assert "ended by signal 9, the next starts in 0 s" in service.log.read_text()


def test_one_worker_keeps_answering_when_the_other_ends(database_url: str) -> None:
    with start_service(database_url, WORKERS="2") as service:
        service.wait_for_workers(2)
        kept, killed = worker_processes(service.pid)
        killed.kill()
        frozen = freeze_workers(service.pid, 1, but=(kept, killed))
        assert all(is_answered(service.port) for _ in range(20))
        frozen[0].resume()


def test_a_worker_that_fails_at_the_first_start_ends_the_service(copy: Path) -> None:
    """The test breaks the code when the parent connects to the database: after its imports, before its workers'."""
    with socket.create_server(("127.0.0.1", 0)) as database:
        url = f"postgresql://todo@127.0.0.1:{database.getsockname()[1]}/todo?sslmode=disable"
        values = {"DATABASE_URL": url, "BETTER_AUTH_SECRET": SECRET, "PORT": "0", "PYTHONPATH": str(copy)}
        process = start(copy, "service", **values, WORKERS="2")
        database.accept()[0].close()
    with broken(copy):
        status, _, errors = finish(process)
    assert status == 1
    assert errors.endswith("The service cannot start: a worker ended with status 1 before it was ready.\n"), errors


def test_workers_that_fail_later_are_restarted_with_growing_pauses(database_url: str, copy: Path) -> None:
    with start_service(database_url, WORKERS="2", PYTHONPATH=str(copy)) as service:
        service.wait_for_workers(2)
        with broken(copy):
            worker_processes(service.pid)[0].kill()
            wait_for("a second failure", lambda: "status 1, the next starts in 4 s" in service.log.read_text())
            assert is_answered(service.port)
        pauses = re.findall(r"ended \w+ (?:status|signal) (\d), the next starts in (\d+) s", service.log.read_text())
        assert pauses == [("9", "0"), ("1", "2"), ("1", "4")]
        service.wait_for_workers(3)


def test_a_port_that_another_process_took_during_the_start_is_one_sentence(tmp_path: Path) -> None:
    """Two sockets can be bound to one port while none of them listens."""
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as database, socket.socket() as other:
        url = f"postgresql://todo@127.0.0.1:{database.getsockname()[1]}/todo?sslmode=disable"
        process = start(tmp_path, "service", DATABASE_URL=url, BETTER_AUTH_SECRET=SECRET, PORT=str(port))
        connection, _ = database.accept()
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        database.close()
        connection.close()
        status, _, errors = finish(process)
    assert (status, errors) == (1, f"PORT={port} on 127.0.0.1 is taken by now: choose another.\n")


def test_process_1_obeys_an_early_signal(tmp_path: Path) -> None:
    """As in a container: the kernel drops signals for which process 1 has no handler."""
    if os.geteuid() != 0:
        missing("a PID namespace needs root")
    command = [program("unshare"), "--pid", "--fork", sys.executable, "-X", "importtime", "-m", "service"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment(DATA_DIR=str(tmp_path / "data")), stderr=subprocess.PIPE, text=True
    )
    try:
        for line in process.stderr or ():
            if line.endswith(" argparse\n"):  # the first import of __main__ that the interpreter has not made before
                break
        (service,) = psutil.Process(process.pid).children()
        service.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        # 0 if the signal comes after the command line was read: then the service stops in an orderly way.
        assert process.returncode in (0, 128 + signal.SIGTERM)
        assert not (tmp_path / "data").exists()
    finally:
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(process.pid).children():
                child.kill()
        process.kill()


@pytest.mark.parametrize("marker", [" asyncpg\n", " uvicorn\n"])
def test_two_signals_at_once_during_the_start_cause_no_traceback(tmp_path: Path, marker: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "service"],
        cwd=tmp_path, env=environment(DATA_DIR=str(tmp_path / "data"), PORT="0"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for line in process.stderr or ():
        if line.endswith(marker):
            break
    for _ in range(5):
        process.send_signal(signal.SIGINT)
        time.sleep(0.01)
    output, errors = process.communicate(timeout=30)
    assert output == "Stopped.\n"
    assert "Traceback" not in errors and "Error" not in errors


@pytest.mark.parametrize("workers", ["1", "2"])
def test_two_signals_at_once_stop_a_service_without_a_traceback(
    database_url: str, tmp_path: Path, workers: str
) -> None:
    values = {"DATABASE_URL": database_url, "BETTER_AUTH_SECRET": SECRET, "PORT": "0", "WORKERS": workers}
    process = start(tmp_path, "service", **values)
    assert process.stdout
    for line in process.stdout:
        if "  curl " in line:
            break
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.01)
    status, output, errors = finish(process)
    assert (status, errors) == (0, "")
    assert output.endswith("Stopped.\n")
    assert '"error"' not in output and "Traceback" not in output


def test_running_out_of_file_descriptors_is_logged_once(database_url: str) -> None:
    """In this state libuv closes new connections silently."""
    with start_service(database_url) as service, contextlib.ExitStack() as stack:
        process = psutil.Process(service.pid)
        _, hard = process.rlimit(psutil.RLIMIT_NOFILE)
        process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds() + 10, hard))
        for _ in range(30):
            stack.enter_context(socket.create_connection(("127.0.0.1", service.port)))
        sentence = "new connections are closed: Too many open files"
        wait_for("a line in the log", lambda: sentence in service.log.read_text())
        time.sleep(2.5)
        assert service.log.read_text().count(sentence) == 1
        stack.close()
        wait_for("an answer", lambda: is_answered(service.port))
