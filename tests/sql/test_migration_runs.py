"""`python -m service migrate` as a process: two runs at once, a killed run, a database that cannot be reached."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from service.errors import StartError
from service.postgres.migrations import migrate, rollback
from service.postgres.schema import names
from tests.support.commands import environment, finish, run, start
from tests.support.databases import at, database
from tests.support.killed_migrations import kill_and_repeat
from tests.support.programs import missing, program
from tests.support.service_process import start_service

NAMES = sorted(names())
ALL_APPLIED = "".join(f"{name} applied\n" for name in NAMES)
SECRET = "s" * 32
PASSWORD = "hunter2-never-shown"
BEHIND = (
    "The database's schema is behind, {} is missing: run `make migrate`, or in a container `python -m service migrate`."
)


@pytest.fixture
def empty(server: str) -> Iterator[str]:
    """The URL of an empty database."""
    with database(server) as name:
        yield at(server, name)


def test_migrate_and_rollback_print_what_they_did(empty: str, tmp_path: Path) -> None:
    assert run(tmp_path, "service", "migrate", DATABASE_URL=empty) == (0, ALL_APPLIED, "")
    status, output, errors = run(tmp_path, "service", "migrate", DATABASE_URL=empty)
    assert (status, errors) == (0, "")
    assert "up to date" in output
    status, output, errors = run(tmp_path, "service", "rollback", DATABASE_URL=empty)
    assert (status, output, errors) == (0, f"{NAMES[-1]} taken back\n", "")


def test_migrate_runs_for_a_uid_without_a_user_name(empty: str, tmp_path: Path) -> None:
    """As in a container that runs under a uid without an entry in /etc/passwd."""
    alone = [program("unshare"), "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    alone += ["sh", "-c", 'mount --bind /dev/null /etc/passwd && exec "$@"', "sh"]
    if subprocess.run([*alone, "true"], capture_output=True).returncode:
        missing("this machine allows no mount namespace")
    values = environment(DATABASE_URL=empty)
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        values.pop(name, None)
    command = [*alone, sys.executable, "-m", "service", "migrate"]
    done = subprocess.run(command, cwd=tmp_path, env=values, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == (ALL_APPLIED, "")


def test_migration_database_url_takes_precedence(empty: str, tmp_path: Path) -> None:
    nowhere = "postgresql://127.0.0.1:1/nowhere"
    values = {"DATABASE_URL": nowhere, "MIGRATION_DATABASE_URL": empty}
    assert run(tmp_path, "service", "migrate", **values) == (0, ALL_APPLIED, "")


def test_two_runs_at_once_apply_each_migration_once(empty: str, tmp_path: Path) -> None:
    both = [start(tmp_path, "service", "migrate", DATABASE_URL=empty) for _ in range(2)]
    results = [finish(process) for process in both]
    assert [(status, errors) for status, _, errors in results] == [(0, ""), (0, "")]
    assert ALL_APPLIED in [output for _, output, _ in results]
    with psycopg.connect(empty) as owner:
        logged = [row[0] for row in owner.execute("select migration_id from _yoyo_log order by created_at_utc")]
    assert logged == NAMES


def test_a_killed_migration_run_can_be_repeated(server: str, tmp_path: Path) -> None:
    # Python's start takes most of a run. The drill kills at more moments.
    kill_and_repeat(server, tmp_path, [0.6, 0.75, 0.9])


WRONG = [
    f"postgresql://nobody:{PASSWORD}@/postgres?SERVER",
    f"postgresql://postgres:{PASSWORD}@/no_such_database?SERVER",
    f"postgresql://postgres:{PASSWORD}@127.0.0.1:1/todo",
    f"postgresql://postgres:{PASSWORD}@no-such-host.invalid/todo",
    f"postgresql://postgres:{PASSWORD}@/todo?host=/no/such/folder",
]


@pytest.mark.parametrize("url", WRONG)
def test_a_wrong_url_is_one_sentence_without_the_password(server: str, url: str) -> None:
    for attempt in (migrate, rollback):
        with pytest.raises(StartError, match=r"^[A-Z].+$") as raised:
            attempt(url.replace("SERVER", server.partition("?")[2]))
        assert "\n" not in str(raised.value)
        assert PASSWORD not in str(raised.value)


@pytest.mark.parametrize("command", ["migrate", "rollback"])
def test_a_failed_command_prints_one_sentence_and_exits_with_an_error(tmp_path: Path, command: str) -> None:
    status, output, errors = run(tmp_path, "service", command, DATABASE_URL=WRONG[2])
    assert status != 0
    assert output == ""
    assert errors.count("\n") == 1 and "Traceback" not in errors
    assert PASSWORD not in errors


def test_the_service_refuses_an_old_schema_in_one_sentence(owner_url: str, database_url: str, tmp_path: Path) -> None:
    rollback(owner_url)
    values = {"DATABASE_URL": database_url, "BETTER_AUTH_SECRET": SECRET, "PORT": "0"}
    status, output, errors = run(tmp_path, "service", **values)
    assert status != 0
    assert BEHIND.format(NAMES[-1]) in errors
    assert "Traceback" not in output + errors


def test_the_service_refuses_an_empty_database_in_one_sentence(empty: str, tmp_path: Path) -> None:
    status, output, errors = run(tmp_path, "service", DATABASE_URL=empty, BETTER_AUTH_SECRET=SECRET, PORT="0")
    assert status != 0
    assert BEHIND.format(NAMES[0]) in errors
    assert "Traceback" not in output + errors


def test_the_service_starts_on_a_newer_schema(owner: psycopg.Connection, database_url: str) -> None:
    owner.execute("insert into _yoyo_migration values ('hash', '9999.from-the-future', now())")
    with start_service(database_url) as service:
        assert service.port
