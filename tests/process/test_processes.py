"""`python -m service` as a process of its own: how it starts, with what, and that nothing of it stays."""

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

from embedded.postgres import Embedded
from service.postgres.migrations import migrate
from tests.support.commands import PROJECT, environment, run
from tests.support.guard import processes_of
from tests.support.programs import missing, program
from tests.support.service_process import ServiceProcess, wait_until_gone

AS_ROOT = os.geteuid() == 0


class DevelopmentService(ServiceProcess):
    """A service with the embedded database in this DATA_DIR."""

    def __init__(self, folder: Path, data_dir: Path, values: dict[str, str], **options: Any) -> None:
        super().__init__(folder, {"DATA_DIR": str(data_dir), **values}, **options)
        self.data_dir = data_dir

    def processes(self) -> set[psutil.Process]:
        """The service, its workers and its database server."""
        return super().processes() | processes_of(self.data_dir)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stops it; fails where anything of it is left."""
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


def pid_file(data_dir: Path) -> Path:
    return data_dir / "postgres/data/postmaster.pid"


def postmaster(data_dir: Path) -> int:
    return int(pid_file(data_dir).read_text().split()[0])


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts services, each in a folder without a .env file, and stops what a failed test left."""
    services: list[DevelopmentService] = []

    def start(data_dir: Path, options: dict[str, Any] | None = None, **values: str) -> DevelopmentService:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        services.append(DevelopmentService(folder, data_dir, values, **(options or {})))
        return services[-1]

    yield start
    for service in services:
        service.kill_what_is_left()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DATA_DIR that was used and stopped: copies of it spare the tests an initdb."""
    database = Embedded(tmp_path_factory.mktemp("made") / "data", print)
    try:
        database.start()
        migrate(database.url)
    finally:
        database.stop()
    return database.data_dir


@pytest.fixture
def used(made: Path, tmp_path: Path) -> Path:
    subprocess.run(["cp", "-a", made, tmp_path / "used"], check=True)
    return tmp_path / "used"


def account(url: str, call: str) -> httpx.Response:
    return httpx.post(
        f"{url}/api/auth/{call}", json={"email": "ada@example.com", "password": "correct horse"}, timeout=30
    )


def answers(url: str, path: str = "/health") -> int:
    return httpx.get(url + path, timeout=30).status_code


def test_the_first_start_makes_everything_and_the_line_it_prints_signs_up(start: Start, tmp_path: Path) -> None:
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


def test_the_second_start_finds_accounts_and_tokens_again(start: Start, used: Path) -> None:
    first = start(used).wait_until_it_answers()
    headers = {"Authorization": f"Bearer {account(first.url, 'signup').json()['token']}"}
    assert httpx.post(f"{first.url}/api/tasks", headers=headers, json={"title": "Stay"}).status_code == 201
    first.stop()

    second = start(used).wait_until_it_answers()
    assert len(second.lines) == 2
    assert account(second.url, "login").status_code == 200
    assert [task["title"] for task in httpx.get(f"{second.url}/api/tasks", headers=headers).json()["tasks"]] == ["Stay"]


@pytest.mark.parametrize(
    ("number", "workers"),
    [(signal.SIGINT, "1"), (signal.SIGINT, "2"), (signal.SIGTERM, "1"), (signal.SIGTERM, "2"), (signal.SIGHUP, "2")],
)
def test_a_signal_stops_it_with_status_0_and_nothing_stays(
    start: Start, used: Path, number: signal.Signals, workers: str
) -> None:
    service = start(used, WORKERS=workers).wait_until_it_answers()
    assert answers(service.url) == 200
    assert service.stop(number) == 0
    assert [line for line in service.lines if "curl" in line] == [service.lines[-2]], "told once, however many workers"
    assert service.lines[-1] == "Stopped."


@pytest.mark.parametrize("seconds", [0.0, 0.6])
def test_a_signal_during_the_first_start_leaves_nothing_that_a_next_start_trips_over(
    start: Start, tmp_path: Path, seconds: float
) -> None:
    service = start(tmp_path / "data")
    service.wait_for("Creating")
    time.sleep(seconds)
    assert service.stop() == 0
    assert start(tmp_path / "data").wait_until_it_answers().stop() == 0


def test_a_signal_while_it_still_loads_is_as_quiet(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "service"],
        cwd=tmp_path, env=environment(DATA_DIR=str(tmp_path / "data"), PORT="0"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for line in process.stderr or ():
        if line.endswith(" psycopg\n"):
            break  # half of it is there
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, output) == (0, "Stopped.\n")
    assert "Traceback" not in errors and not (tmp_path / "data").exists()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_after_a_sigkill_the_workers_end_and_the_next_start_takes_the_database_over(
    start: Start, used: Path, workers: str
) -> None:
    killed = start(used, WORKERS=workers).wait_until_it_answers()
    assert account(killed.url, "signup").status_code == 201
    server = postmaster(used)
    own = killed.processes() - processes_of(used)
    assert len(own) >= int(workers)
    killed.process.kill()
    wait_until_gone(own)

    service = start(used, PORT=str(urlsplit(killed.url).port)).wait_until_it_answers()
    assert postmaster(used) == server
    assert account(service.url, "login").status_code == 200
    assert service.stop() == 0


def test_two_copies_run_side_by_side(start: Start, made: Path, used: Path, tmp_path: Path) -> None:
    subprocess.run(["cp", "-a", made, tmp_path / "other"], check=True)
    one, other = start(used).wait_until_it_answers(), start(tmp_path / "other").wait_until_it_answers()
    assert account(one.url, "signup").status_code == account(other.url, "signup").status_code == 201
    assert one.stop() == 0
    assert answers(other.url) == 200


def test_a_second_copy_with_the_same_folder_is_refused(start: Start, used: Path, tmp_path: Path) -> None:
    service = start(used).wait_until_it_answers()
    status, output, errors = run(tmp_path, "service", PORT="0", DATA_DIR=str(used))
    assert (status, output) == (1, "")
    assert errors.startswith(f"DATA_DIR={used} is in use by another copy: stop it, or ")
    assert errors.count("\n") == 1
    assert answers(service.url) == 200


def test_a_very_long_path_will_do(start: Start, made: Path, tmp_path: Path) -> None:
    long = tmp_path / ("long " * 30)
    subprocess.run(["cp", "-a", made, long], check=True)
    service = start(long).wait_until_it_answers()
    assert answers(service.url) == 200
    assert service.stop() == 0


@pytest.mark.parametrize("host", ["::1", "0.0.0.0"])
def test_it_listens_where_host_says(start: Start, used: Path, host: str) -> None:
    if host == "::1" and not Path("/proc/net/if_inet6").exists():
        missing("this machine has no IPv6")
    assert answers(start(used, HOST=host).wait_until_it_answers().url) == 200


def test_migrations_run_on_the_database_of_a_running_service(start: Start, used: Path, tmp_path: Path) -> None:
    service = start(used).wait_until_it_answers()
    assert run(tmp_path, "service", "migrate", DATA_DIR=str(used)) == (
        0,
        "The database's schema is up to date: nothing to do.\n",
        "",
    )
    assert run(tmp_path, "service", "rollback", DATA_DIR=str(used))[0] == 0
    assert run(tmp_path, "service", "migrate", DATA_DIR=str(used))[0] == 0
    assert answers(service.url) == 200


def test_a_port_that_is_taken_is_told_before_anything_is_made(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, output, errors = run(tmp_path, "service", PORT=str(port), DATA_DIR=str(tmp_path / "data"))
    assert (status, output) == (2, "")
    assert re.fullmatch(rf"PORT={port} is taken on 127\.0\.0\.1: choose another, for example PORT=\d+\.\n", errors)
    assert not (tmp_path / "data").exists()


def test_a_port_for_root_only_is_told(tmp_path: Path) -> None:
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


def test_no_permission_above_the_data_changes(start: Start, made: Path, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    subprocess.run(["cp", "-a", made, closed / "data"], check=True)

    def modes() -> dict[Path, tuple[int, int, int]]:
        folders = {*(closed / "data").parents, *Path(sys.prefix).parents, *PROJECT.parents, PROJECT, Path(sys.prefix)}
        entries = {folder: folder.stat() for folder in folders}
        return {folder: (entry.st_mode, entry.st_uid, entry.st_gid) for folder, entry in entries.items()}

    before = modes()
    start(closed / "data").wait_until_it_answers().stop()
    assert modes() == before
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


def test_a_plain_user_can_run_it_and_so_can_root_after_them(start: Start) -> None:
    """In that user's clone: whoever runs somebody's code trusts them with its DATA_DIR as well."""
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
        assert account(service.url, "signup").status_code == 201
        assert {process.uids().real for process in service.processes()} == {nobody.pw_uid}
        assert service.stop() == 0
        of_root = start(data_dir, PYTHONPATH=code).wait_until_it_answers()
        assert account(of_root.url, "login").status_code == 200
        assert of_root.stop() == 0


def _python_for(plain: dict[str, Any]) -> str:
    """A Python that this user may run, and that loads the service."""
    for python in (sys.executable, "/usr/bin/python3"):
        with contextlib.suppress(OSError):
            if subprocess.run([python, "-c", "import service.web.server"], check=False, **plain).returncode == 0:
                return python
    pytest.skip("a plain user may read no Python that loads the service")
