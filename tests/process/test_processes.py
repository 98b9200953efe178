"""`python -m service` with the development database: start, stop, signals, users and ports."""

import contextlib
import os
import pwd
import re
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from tests.support.commands import PROJECT, environment, run
from tests.support.data_dir import copy_data_dir, pid_file, postmaster_pid
from tests.support.guard import processes_of
from tests.support.programs import missing, program
from tests.support.service_process import ServiceProcess, wait_until_gone

AS_ROOT = os.geteuid() == 0


class DevelopmentService(ServiceProcess):
    """The service with its development database in this DATA_DIR."""

    def __init__(self, folder: Path, data_dir: Path, values: dict[str, str], **options: Any) -> None:
        super().__init__(folder, {"DATA_DIR": str(data_dir), **values}, **options)
        self.data_dir = data_dir

    def processes(self) -> set[psutil.Process]:
        """The service, its workers and its database server."""
        return super().processes() | processes_of(self.data_dir)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stops it; fails if a process or the pid file is left."""
        everything = self.processes()
        status = super().stop(number)
        wait_until_gone(everything)
        assert not pid_file(self.data_dir).exists()
        return status

    def kill_what_is_left(self) -> None:
        left = processes_of(self.data_dir)
        if self.process.poll() is None:
            left |= self.processes()
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        self.process.wait()


Start = Callable[..., DevelopmentService]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts services, each in a folder without a .env file; kills the processes that a failed test leaves."""
    services: list[DevelopmentService] = []

    def start(data_dir: Path, options: dict[str, Any] | None = None, **values: str) -> DevelopmentService:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        services.append(DevelopmentService(folder, data_dir, values, **(options or {})))
        return services[-1]

    yield start
    for service in services:
        service.kill_what_is_left()


def account(url: str, call: str) -> httpx.Response:
    return httpx.post(
        f"{url}/api/auth/{call}", json={"email": "ada@example.com", "password": "correct horse"}, timeout=30
    )


def answers(url: str, path: str = "/health") -> int:
    return httpx.get(url + path, timeout=30).status_code


def test_the_first_start_creates_everything_and_the_printed_curl_command_signs_up(start: Start, tmp_path: Path) -> None:
    curl = program("curl")
    service = start(tmp_path / "with blanks" / "data").wait_until_it_answers()
    assert service.lines[0] == f"Creating the development database in {service.data_dir} (first start only) …"
    migrations = sorted(path.stem for path in (PROJECT / "sql/migrations").glob("*.sql") if "rollback" not in path.name)
    assert service.lines[1:-2] == [f"{name} applied" for name in migrations]
    assert service.url in service.lines[-2] and f"{service.url}/docs" in service.lines[-2]
    assert answers(service.url, "/livez") == answers(service.url) == answers(service.url, "/docs") == 200

    command = [curl, *shlex.split(service.lines[-1])[1:], "-s", "-o", "/dev/null", "-w", "%{http_code}"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "201"
    assert service.stop() == 0
    assert service.lines[-1] == "Stopped."


def test_the_second_start_finds_accounts_and_tokens_again(start: Start, data_dir: Path) -> None:
    first = start(data_dir).wait_until_it_answers()
    headers = {"Authorization": f"Bearer {account(first.url, 'signup').json()['token']}"}
    assert httpx.post(f"{first.url}/api/tasks", headers=headers, json={"title": "Stay"}).status_code == 201
    first.stop()

    second = start(data_dir).wait_until_it_answers()
    assert len(second.lines) == 2
    assert account(second.url, "login").status_code == 200
    assert [task["title"] for task in httpx.get(f"{second.url}/api/tasks", headers=headers).json()["tasks"]] == ["Stay"]


@pytest.mark.parametrize(
    ("number", "workers"),
    [(signal.SIGINT, "1"), (signal.SIGINT, "2"), (signal.SIGTERM, "1"), (signal.SIGTERM, "2"), (signal.SIGHUP, "2")],
)
def test_a_signal_stops_the_service_with_status_0_and_leaves_no_process(
    start: Start, data_dir: Path, number: signal.Signals, workers: str
) -> None:
    service = start(data_dir, WORKERS=workers).wait_until_it_answers()
    assert answers(service.url) == 200
    assert service.stop(number) == 0
    assert [line for line in service.lines if "curl" in line] == [service.lines[-2]], (
        "one message, however many workers"
    )
    assert service.lines[-1] == "Stopped."


@pytest.mark.parametrize("seconds", [0.0, 0.6])
def test_a_signal_during_the_first_start_does_not_break_the_next_start(
    start: Start, tmp_path: Path, seconds: float
) -> None:
    service = start(tmp_path / "data")
    service.wait_for("Creating")
    time.sleep(seconds)
    assert service.stop() == 0
    assert start(tmp_path / "data").wait_until_it_answers().stop() == 0


def test_a_signal_during_the_imports_stops_the_service_without_a_traceback(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "service"],
        cwd=tmp_path, env=environment(DATA_DIR=str(tmp_path / "data"), PORT="0"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for line in process.stderr or ():
        if line.endswith(" psycopg\n"):
            break  # an initdb that was interrupted halfway
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, output) == (0, "Stopped.\n")
    assert "Traceback" not in errors and not (tmp_path / "data").exists()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_after_a_sigkill_the_workers_end_and_the_next_start_reuses_the_database_server(
    start: Start, data_dir: Path, workers: str
) -> None:
    killed = start(data_dir, WORKERS=workers).wait_until_it_answers()
    assert account(killed.url, "signup").status_code == 201
    server = postmaster_pid(data_dir)
    own = killed.processes() - processes_of(data_dir)
    assert len(own) >= int(workers)
    killed.process.kill()
    wait_until_gone(own)

    service = start(data_dir, PORT=str(urlsplit(killed.url).port)).wait_until_it_answers()
    assert postmaster_pid(data_dir) == server
    assert account(service.url, "login").status_code == 200
    assert service.stop() == 0


def test_two_copies_run_side_by_side(start: Start, stopped_data_dir: Path, data_dir: Path, tmp_path: Path) -> None:
    copy_data_dir(stopped_data_dir, tmp_path / "other")
    one, other = start(data_dir).wait_until_it_answers(), start(tmp_path / "other").wait_until_it_answers()
    assert account(one.url, "signup").status_code == account(other.url, "signup").status_code == 201
    assert one.stop() == 0
    assert answers(other.url) == 200


def test_a_second_copy_with_the_same_folder_is_refused(start: Start, data_dir: Path, tmp_path: Path) -> None:
    service = start(data_dir).wait_until_it_answers()
    status, output, errors = run(tmp_path, "service", PORT="0", DATA_DIR=str(data_dir))
    assert (status, output) == (1, "")
    assert errors.startswith(f"DATA_DIR={data_dir} is in use by another copy: stop it, or ")
    assert errors.count("\n") == 1
    assert answers(service.url) == 200


def test_a_very_long_path_works(start: Start, stopped_data_dir: Path, tmp_path: Path) -> None:
    long = tmp_path / ("long " * 30)
    copy_data_dir(stopped_data_dir, long)
    service = start(long).wait_until_it_answers()
    assert answers(service.url) == 200
    assert service.stop() == 0


@pytest.mark.parametrize("host", ["::1", "0.0.0.0"])
def test_the_service_listens_on_host(start: Start, data_dir: Path, host: str) -> None:
    if host == "::1" and not Path("/proc/net/if_inet6").exists():
        missing("this machine has no IPv6")
    assert answers(start(data_dir, HOST=host).wait_until_it_answers().url) == 200


def test_migrations_run_on_the_database_of_a_running_service(start: Start, data_dir: Path, tmp_path: Path) -> None:
    service = start(data_dir).wait_until_it_answers()
    assert run(tmp_path, "service", "migrate", DATA_DIR=str(data_dir)) == (
        0,
        "The database's schema is up to date: nothing to do.\n",
        "",
    )
    assert run(tmp_path, "service", "rollback", DATA_DIR=str(data_dir))[0] == 0
    assert run(tmp_path, "service", "migrate", DATA_DIR=str(data_dir))[0] == 0
    assert answers(service.url) == 200


def test_a_port_in_use_is_an_error_before_anything_is_created(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, output, errors = run(tmp_path, "service", PORT=str(port), DATA_DIR=str(tmp_path / "data"))
    assert (status, output) == (2, "")
    assert re.fullmatch(rf"PORT={port} is taken on 127\.0\.0\.1: choose another, for example PORT=\d+\.\n", errors)
    assert not (tmp_path / "data").exists()


def test_a_port_for_root_only_is_an_error(tmp_path: Path) -> None:
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 80:
        pytest.skip("here everybody may use port 80")
    plain = [program("setpriv"), "--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service"] if AS_ROOT else []
    values = environment(PORT="80", DATA_DIR=str(tmp_path / "data"))
    command = [*plain, sys.executable, "-m", "service"]
    done = subprocess.run(command, cwd=tmp_path, env=values, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "PORT=80 is for root only: choose one above 1023, for example PORT=8000.\n",
    )


def test_the_modes_of_parent_folders_do_not_change(start: Start, stopped_data_dir: Path, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    copy_data_dir(stopped_data_dir, closed / "data")

    def modes() -> dict[Path, tuple[int, int, int]]:
        folders = {*(closed / "data").parents, *Path(sys.prefix).parents, *PROJECT.parents, PROJECT, Path(sys.prefix)}
        entries = {folder: folder.stat() for folder in folders}
        return {folder: (entry.st_mode, entry.st_uid, entry.st_gid) for folder, entry in entries.items()}

    before = modes()
    start(closed / "data").wait_until_it_answers().stop()
    assert modes() == before
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


def test_a_plain_user_can_run_the_service_and_root_afterwards(start: Start) -> None:
    """In a clone of that user. Who runs another user's code trusts that user with DATA_DIR too."""
    if not AS_ROOT:
        pytest.skip("all the other tests run as a plain user already")
    nobody = pwd.getpwnam("nobody")
    plain: dict[str, Any] = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    with tempfile.TemporaryDirectory() as home:
        clone, data_dir = Path(home) / "clone", Path(home) / "data"
        for folder in ("service", "embedded", "sql"):
            shutil.copytree(PROJECT / folder, clone / folder)
        subprocess.run(["chown", "-R", f"{nobody.pw_uid}:{nobody.pw_gid}", home], check=True)
        code = f"{clone}{os.pathsep}{sysconfig.get_paths()['purelib']}"
        values = environment(DATA_DIR=str(data_dir), PYTHONPATH=code)
        plain["cwd"] = home
        plain["env"] = {name: value for name, value in values.items() if not name.startswith("COVERAGE")}
        service = start(data_dir, {"python": _python_for(plain), **plain})
        service.wait_until_it_answers()
        assert account(service.url, "signup").status_code == 201, service.log.read_text()
        assert {process.uids().real for process in service.processes()} == {nobody.pw_uid}
        assert service.stop() == 0
        of_root = start(data_dir, PYTHONPATH=code).wait_until_it_answers()
        assert account(of_root.url, "login").status_code == 200
        assert of_root.stop() == 0


def _python_for(plain: dict[str, Any]) -> str:
    """A Python that this user may run, and that can import the service."""
    for python in (sys.executable, "/usr/bin/python3"):
        with contextlib.suppress(OSError):
            if subprocess.run([python, "-c", "import service.web.server"], check=False, **plain).returncode == 0:
                return python
    pytest.skip("a plain user may read no Python that loads the service")
