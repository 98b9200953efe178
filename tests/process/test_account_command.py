"""`python -m service account` as an operator runs it: its effects and its error messages."""

import json
import time
import uuid
from pathlib import Path

import bcrypt
import httpx
import psycopg
import pytest

from tests.support import commands
from tests.support.api import PASSWORD, token
from tests.support.databases import Template
from tests.support.service_process import ServiceProcess, start_service

ADA = "ada@example.com"
ID = str(uuid.UUID(int=7))
OTHER_PASSWORD = "another password"


@pytest.fixture(autouse=True)
def account(owner: psycopg.Connection) -> None:
    """An account with a task."""
    stored = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    owner.execute("insert into users (id, email, password_hash) values (%s, %s, %s)", (ID, ADA, stored))
    owner.execute("insert into tasks (user_id, id, title) values (%s, gen_random_uuid(), 'Buy milk 🥛')", (ID,))


def run(url: str, *arguments: str, sent: str = "") -> tuple[int, str, str]:
    """Exit status, stdout and stderr of `python -m service account …`."""
    return commands.finish(commands.start(Path("/"), "service", "account", *arguments, DATABASE_URL=url), sent=sent)


def row(owner: psycopg.Connection, sql: str) -> tuple[object, ...]:
    found = owner.execute(sql.encode()).fetchone()
    assert found
    return found


def test_show_and_export(owner_url: str, owner: psycopg.Connection) -> None:
    status, output, errors = run(owner_url, "show", f" {ADA.upper()} ")
    assert (status, errors) == (0, "")
    assert output.splitlines()[:2] == [f"id: {ID}", f"e-mail: {ADA}"]
    assert {"tasks: 1", "tokens valid from: any time", "failed log-ins: 0"} <= set(output.splitlines())
    status, output, errors = run(owner_url, "export", ID)
    assert (status, errors) == (0, "")
    document = json.loads(output)
    assert document["account"] | {"created_at": ""} == {"id": ID, "email": ADA, "created_at": ""}
    assert [task["title"] for task in document["tasks"]] == ["Buy milk 🥛"]
    assert set(document) == {"account", "tokens_valid_from", "tasks", "log_ins"}
    assert "$2b$" not in output


def test_set_password_sign_out_and_delete(owner_url: str, owner: psycopg.Connection) -> None:
    before = time.time()
    status, output, errors = run(owner_url, "set-password", ADA, sent=f"{OTHER_PASSWORD}\n")
    assert (status, output, errors) == (0, "The password is set. Its tokens end within 30 seconds.\n", "")
    (stored,) = row(owner, "select password_hash from users")
    assert bcrypt.checkpw(OTHER_PASSWORD.encode(), str(stored).encode()) and str(stored).startswith("$2b$12$")
    (first,) = row(owner, "select extract(epoch from valid_from)::int from token_cutoffs")
    assert isinstance(first, int) and first > before
    assert run(owner_url, "sign-out", ADA)[0] == 0
    assert run(owner_url, "delete", ADA, sent="\n")[::2] == (1, "Nothing was deleted.\n")
    assert row(owner, "select count(*) from users") == (1,)
    status, output, errors = run(owner_url, "delete", ADA, "--yes")
    assert (status, output, errors) == (0, "The account is deleted. Its tokens end within 30 seconds.\n", "")
    assert row(owner, "select (select count(*) from users) + (select count(*) from tasks)") == (0,)
    (last,) = row(owner, "select extract(epoch from valid_from)::int from token_cutoffs")
    assert isinstance(last, int) and last >= first


def test_deleting_an_account_deletes_its_log_in_counts(
    template: Template, database_name: str, owner_url: str, owner: psycopg.Connection
) -> None:
    with start_service(template.service_url(database_name)) as service:
        for password in ("a wrong password", PASSWORD, "a wrong password"):
            httpx.post(f"{service.url}/api/auth/login", json={"email": ADA, "password": password}, timeout=20)
        assert "failed log-ins: 1" in run(owner_url, "show", ADA)[1]
        assert [each["failed"] for each in json.loads(run(owner_url, "export", ADA)[1])["log_ins"]] == [1, 0]
        before = row(owner, "select count(*) from login_attempts")
        assert run(owner_url, "delete", ADA, "--yes")[0] == 0
        after = row(owner, "select count(*) from login_attempts")
    assert (before, after) == ((3,), (1,)), "the counts of the address stay"


def test_after_a_sign_out_old_tokens_are_refused_and_new_ones_accepted(
    template: Template, database_name: str, owner_url: str
) -> None:
    old = {"Authorization": f"Bearer {token(user_id=ID, email=ADA)}"}
    assert run(owner_url, "sign-out", ADA)[0] == 0
    with start_service(template.service_url(database_name)) as service:
        assert httpx.get(f"{service.url}/api/tasks", headers=old, timeout=20).status_code == 401
        account = httpx.post(f"{service.url}/api/auth/login", json={"email": ADA, "password": PASSWORD}, timeout=20)
        new = {"Authorization": f"Bearer {account.json()['token']}"}
        assert httpx.get(f"{service.url}/api/tasks", headers=new, timeout=20).status_code == 200


@pytest.mark.parametrize("action", ["show", "export", "sign-out", "delete"])
def test_an_unknown_account_is_an_error(owner_url: str, action: str) -> None:
    result = run(owner_url, action, "eve@example.com", *(["--yes"] if action == "delete" else []))
    assert result == (1, "", "There is no account with this e-mail or id.\n")


def test_the_services_role_may_not_run_the_account_command(database_url: str) -> None:
    expected = "This role may not do that: set MIGRATION_DATABASE_URL to the role that owns the tables.\n"
    assert run(database_url, "sign-out", ADA) == (1, "", expected)
    assert run(database_url, "delete", ADA, "--yes") == (1, "", expected)


def test_the_account_command_without_a_database_prints_one_sentence() -> None:
    status, output, errors = run("postgresql://todo@127.0.0.1:1/todo", "show", ADA)
    assert (status, output) == (1, "")
    assert errors.startswith("The database cannot be used: ") and errors.count("\n") == 1


def test_the_account_command_refuses_an_old_schema(owner_url: str, owner: psycopg.Connection) -> None:
    owner.execute("drop table token_cutoffs")
    assert run(owner_url, "show", ADA) == (1, "", "The database's schema is behind: run `make migrate`.\n")


@pytest.mark.parametrize(
    ("password", "sentence"),
    [("short", "Password must be at least 8 characters"), ("x" * 73, "Password must not exceed 72 bytes")],
)
def test_set_password_refuses_the_passwords_that_sign_up_refuses(owner_url: str, password: str, sentence: str) -> None:
    assert run(owner_url, "set-password", ADA, sent=password) == (1, "", f"{sentence}.\n")


def test_set_password_is_refused_for_a_user_of_better_auth(owner_url: str, owner: psycopg.Connection) -> None:
    other = str(uuid.UUID(int=8))
    owner.execute("insert into users (id) values (%s)", (other,))
    status, _, errors = run(owner_url, "set-password", other, sent=OTHER_PASSWORD)
    assert (status, errors) == (1, "This account logs in with Better Auth and has no password here.\n")
    assert run(owner_url, "delete", other, "--yes")[0] == 0


def test_the_account_command_reaches_the_database_of_a_running_make_run(tmp_path: Path) -> None:
    settings = {"DATA_DIR": str(tmp_path / "data")}
    service = ServiceProcess(tmp_path, settings)
    try:
        url = service.wait_until_it_answers().url
        httpx.post(f"{url}/api/auth/signup", json={"email": ADA, "password": PASSWORD}, timeout=20)
        status, output, errors = commands.run(tmp_path, "service", "account", "show", ADA, **settings)
    finally:
        service.stop()
    assert (status, errors) == (0, "")
    assert f"e-mail: {ADA}" in output
