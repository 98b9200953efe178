"""The log of a real process: complete, one line for each event, and without data that clients sent."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from service.telemetry.log import RECORDS_PER_SECOND
from tests.support import commands
from tests.support.api import SECRET, token
from tests.support.raw_http_async import exchange
from tests.support.service_process import ServiceProcess, start_service

FIELDS = ["time", "id", "method", "route", "status", "milliseconds", "user_id", "client"]
TERMINATE_WAITING_SESSIONS = """
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock'
"""
# Two ways in which PostgreSQL's errors quote values.
QUOTING_TRIGGER = """
    create function odd() returns trigger language plpgsql as $$
    begin
        if new.email like 'detail%' then
            raise exception 'odd' using detail = 'Failing row: ' || new;
        end if;
        perform new.email::int;
    end
    $$;
    create trigger odd before insert on users for each row execute function odd()
"""
SAID = re.compile(r"The service answers at |  curl |Stopped\.")


def objects(output: str) -> list[dict[str, Any]]:
    """Every line as an object, without the messages for the person who started the service."""
    return [json.loads(line) for line in output.splitlines() if not SAID.match(line)]


def requests(output: str) -> list[dict[str, Any]]:
    return [line for line in objects(output) if "route" in line]


def written(service: ServiceProcess, request_id: str) -> str:
    """The whole log, as soon as it has the line of this request."""
    deadline = time.monotonic() + 5
    while f'"id": "{request_id}", "method"' not in (output := service.log.read_text()):
        assert time.monotonic() < deadline, output
        time.sleep(0.02)
    return output


def test_each_request_is_one_line_without_data_of_the_client(database_url: str) -> None:
    email, password, title = "Grace.Hopper@example.com", "a very private password", "a very private title"
    began = datetime.now(UTC)
    with start_service(database_url) as service, httpx.Client(base_url=service.url, timeout=30) as client:
        account = {"email": email, "password": password}
        signed_up = client.post("/api/auth/signup", json=account).json()
        client.post("/api/auth/login", json={**account, "password": "private, too"})
        mine = {"Authorization": f"Bearer {signed_up['token']}"}
        task = client.post("/api/tasks?private=query", json={"title": title}, headers=mine).json()["task"]["id"]
        client.get(f"/api/tasks/{task}", headers=mine)
        client.get("/api/tasks", headers={"Authorization": "Bearer private.token.x"})
        client.get("/private/path", headers={"User-Agent": "private agent", "Cookie": "private=cookie"})
        client.put("/api/tasks", content=b"private body")
        client.delete(f"/api/tasks/{task}", headers={**mine, "X-Request-ID": "the-last.one"})
        output = written(service, "the-last.one")
    lines = requests(output)
    assert all(list(line) == FIELDS for line in lines)
    me = signed_up["user"]["id"]
    assert [(line["method"], line["route"], line["status"], line["user_id"]) for line in lines] == [
        ("POST", "/api/auth/signup", 201, None),
        ("POST", "/api/auth/login", 401, None),
        ("POST", "/api/tasks", 201, me),
        ("GET", "/api/tasks/{id}", 200, me),
        ("GET", "/api/tasks", 401, None),
        ("GET", None, 404, None),
        ("PUT", "/api/tasks", 405, None),
        ("DELETE", "/api/tasks/{id}", 204, me),
    ]
    assert {line["client"] for line in lines} == {"127.0.0.1"}
    assert len({line["id"] for line in lines}) == len(lines)
    times = [datetime.fromisoformat(line["time"]) for line in lines]
    assert [began, *times] == sorted([began, *times])
    assert lines[0]["milliseconds"] > 50  # bcrypt
    assert lines[4]["milliseconds"] > 0
    for secret in (email, "hopper", password, title, "private", signed_up["token"], task, "$2b$", SECRET):
        assert secret.lower() not in output.lower(), secret


@pytest.mark.anyio
async def test_nothing_in_a_request_can_break_or_forge_a_line(database_url: str) -> None:
    forged = '"}\\n{"time": "forged", "route": "forged"}'
    address = '"} {"route": "forged"}'
    heads = [
        f"GET /{forged.replace(' ', '')} HTTP/1.1",
        "GET /%0a%0d%22%7d%7b%22route%22:%22forged%22%7d HTTP/1.1",
        "GET /\u2028\x1b[2Jforged HTTP/1.1",
        "GET /livez HTTP/1.1\r\nX-Forwarded-For: \x1b]0;forged\xff",
        f"GET /livez HTTP/1.1\r\nX-Request-ID: {forged}",
        f"GET /livez HTTP/1.1\r\nX-Request-ID: {'forged' * 30}",
        f"GET /livez HTTP/1.1\r\nX-Forwarded-For: {address}",
        f"GET /livez HTTP/1.1\r\nX-Forwarded-For: {'forged' * 500}",
        f"PURGE /livez HTTP/1.1\r\nUser-Agent: {forged}\r\nAuthorization: {forged}",
        "GET /livez HTTP/1.1\r\nX-Request-ID: the-last",
    ]
    with start_service(database_url, TRUSTED_PROXIES="127.0.0.1") as service:
        answers = [await exchange(service, f"{head}\r\nHost: x\r\n\r\n".encode()) for head in heads]
        output = written(service, "the-last")
    lines = requests(output)
    # uvicorn refuses two of them as invalid HTTP, and logs only that.
    readable = [answer.headers["x-request-id"] for answer in answers if answer.status != 400]
    assert [line["id"] for line in lines] == readable
    assert len(lines) == len(heads) - 2
    assert all(list(line) == FIELDS for line in lines)
    assert "forged" not in {line["time"] for line in lines} | {line["route"] for line in lines}
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{1,128}", line["id"]) for line in lines)
    assert [line["client"] for line in lines if "forged" in line["client"]] == [
        address,
        "forged" * 10 + "forg",
    ]  # the address that the trusted proxy sent, escaped
    assert all(len(line["client"]) <= 64 for line in lines)
    assert "\x1b" not in output and output.isascii()


def test_the_logger_uvicorn_error_is_shown_as_uvicorn(database_url: str) -> None:
    with start_service(database_url) as service:
        lines = [json.loads(line) for line in service.log.read_text().splitlines() if line.startswith("{")]
    assert "uvicorn" in {line["logger"] for line in lines if "logger" in line}
    assert not [line for line in lines if "error" in line.get("logger", "")]


def test_a_500_is_logged_with_its_traceback_but_without_values(database_url: str, owner: psycopg.Connection) -> None:
    owner.execute(QUOTING_TRIGGER)
    owner.execute("alter table tasks rename to elsewhere")
    with start_service(database_url) as service, httpx.Client(base_url=service.url, timeout=30) as client:
        mine = {"Authorization": f"Bearer {token(user_id=str(uuid.uuid4()))}"}
        broken = client.get("/api/tasks", headers=mine)
        for email in ("detail@example.com", "message@example.com"):
            unusual = client.post("/api/auth/signup", json={"email": email, "password": "private password"})
            assert unusual.status_code == 500
        output = written(service, unusual.headers["x-request-id"])
    assert broken.status_code == 500
    errors = [line for line in objects(output) if line.get("level") == "error"]
    assert (errors[0]["id"], errors[-1]["id"]) == (broken.headers["x-request-id"], unusual.headers["x-request-id"])
    assert errors[0]["error"] == 'UndefinedTableError: relation "tasks" does not exist'
    assert [line["error"] for line in errors[1:]] == ["RaiseError: odd", "InvalidTextRepresentationError"]
    for line, function in zip(errors, ("list_tasks", "sign_up", "sign_up"), strict=True):
        assert re.search(rf'File ".*service/\w+\.py", line \d+, in {function}\n', line["trace"])
    for secret in ("detail@", "message@", "private", "$2b$"):
        assert secret not in output


def test_a_lost_connection_is_logged_in_one_line_with_its_cause(
    database_url: str, owner: psycopg.Connection, owner_url: str
) -> None:
    with (
        start_service(database_url) as service,
        httpx.Client(base_url=service.url, timeout=30) as client,
        ThreadPoolExecutor() as thread,
    ):
        mine = {"Authorization": f"Bearer {token(user_id=str(uuid.uuid4()))}", "X-Request-ID": "healed"}
        with psycopg.connect(owner_url) as holder:
            holder.execute("lock table tasks")
            answer = thread.submit(client.get, "/api/tasks", headers=mine)
            deadline = time.monotonic() + 4
            while not owner.execute(TERMINATE_WAITING_SESSIONS).fetchall():
                assert time.monotonic() < deadline
        assert answer.result().status_code == 200
        output = written(service, "healed")
    [line] = [line for line in objects(output) if line.get("level") == "warning"]
    assert line["message"] == "connection lost under list_tasks"
    assert "AdminShutdownError: terminating connection" in line["error"]
    assert "trace" not in line


def test_an_outage_is_logged_in_a_few_short_lines_per_second(tmp_path: Path) -> None:
    url = "postgresql://todo:todo@127.0.0.1:9/todo?sslmode=disable"  # no process listens on the discard port
    mine = {"Authorization": f"Bearer {token(user_id=str(uuid.uuid4()))}"}
    with start_service(url, LOG_LEVEL="warning") as service, httpx.Client(base_url=service.url, headers=mine) as client:
        assert {client.get("/api/tasks").status_code for _ in range(200)} == {503}
        time.sleep(1)
        client.get("/api/tasks")
        lines = objects(service.log.read_text())
    messages = Counter(re.sub(r"\d+", "N", line["message"]) for line in lines)
    assert messages.keys() == {"no connection to the database", "no connection to the database (N more were left out)"}
    left_out = sum(int(count) for line in lines for count in re.findall(r"\((\d+) more", line["message"]))
    assert len(lines) + left_out == 202  # one of them at the start
    seconds = Counter(line["time"][:19] for line in lines)
    assert max(seconds.values()) <= RECORDS_PER_SECOND
    assert all("ConnectionRefusedError" in line["error"] and "trace" not in line for line in lines)


def test_log_level_warning_turns_the_request_log_off(database_url: str) -> None:
    with start_service(database_url, LOG_LEVEL="warning") as service:
        httpx.get(f"{service.url}/livez")
        time.sleep(0.5)
        assert objects(service.log.read_text()) == []


def test_a_terminal_shows_readable_lines(database_url: str, owner: psycopg.Connection, tmp_path: Path) -> None:
    owner.execute("alter table tasks rename to elsewhere")
    screen, terminal = pty.openpty()
    environment = commands.environment(DATABASE_URL=database_url, BETTER_AUTH_SECRET=SECRET, PORT="0")
    process = subprocess.Popen([sys.executable, "-m", "service"], cwd=tmp_path, env=environment, stdout=terminal)
    os.close(terminal)
    shown = b""

    def wait_for(pattern: bytes) -> re.Match[bytes]:
        nonlocal shown
        while not (found := re.search(pattern, shown)):
            shown += os.read(screen, 4096)
        return found

    try:
        url = wait_for(rb"answers at (http://\S+) ")[1].decode()
        httpx.get(f"{url}/api/tasks", headers={"Authorization": f"Bearer {token(user_id=str(uuid.uuid4()))}"})
        wait_for(rb'\d\d:\d\d:\d\d\.\d{3}Z 500 GET "/api/tasks" \d+\.\d ms, user "[0-9a-f-]{36}", client "127.0.0.1"')
    finally:
        process.terminate()
        with suppress(OSError):  # the last writer has closed the terminal
            while data := os.read(screen, 4096):
                shown += data
        os.close(screen)
        process.wait(10)
    assert b"error service.web.middleware unforeseen" in shown and b"UndefinedTableError: relation" in shown
    assert re.search(rb'\r\n  File "[^"]+tasks.py", line \d+, in list_tasks\r\n', shown)
    assert b'{"time"' not in shown


def begin(folder: Path, **values: str) -> tuple[subprocess.Popen[str], int, str]:
    """Starts the service with its output in a pipe; returns the process, its port and the output so far."""
    process = commands.start(folder, "service", BETTER_AUTH_SECRET=SECRET, PORT="0", **values)
    assert process.stdout
    head = ""
    while not (answers := re.search(r"answers at http://127\.0\.0\.1:(\d+) .*\n  curl .*\n", head)):
        head += process.stdout.readline()
    return process, int(answers[1]), head


def test_lines_of_several_workers_never_mix(database_url: str, tmp_path: Path) -> None:
    process, port, head = begin(tmp_path, DATABASE_URL=database_url, WORKERS="2")

    assert process.stdout

    def ask(_: int) -> None:
        connection = HTTPConnection("127.0.0.1", port)
        for _ in range(250):
            connection.request("GET", "/livez", headers={"X-Request-ID": "x" * 120})
            assert connection.getresponse().read()
        connection.close()

    with ThreadPoolExecutor(8) as threads:
        asking = [threads.submit(ask, number) for number in range(8)]
        while not all(each.done() for each in asking):
            # Reads so slowly that the pipe is mostly full, and both workers wait for space in it.
            head += os.read(process.stdout.fileno(), 4096).decode()
            time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    status, output, _ = commands.finish(process)
    assert status == 0
    assert len([line for line in requests(head + output) if line["id"] == "x" * 120]) == 2000


def test_the_last_request_before_the_stop_is_logged(database_url: str, owner_url: str, tmp_path: Path) -> None:
    process, port, head = begin(tmp_path, DATABASE_URL=database_url)
    mine = {"Authorization": f"Bearer {token(user_id=str(uuid.uuid4()))}", "X-Request-ID": "the-last"}
    with ThreadPoolExecutor() as thread:
        with psycopg.connect(owner_url) as holder:
            holder.execute("lock table tasks")
            answer = thread.submit(httpx.get, f"http://127.0.0.1:{port}/api/tasks", headers=mine)
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
        assert answer.result().status_code == 200
        _, output, _ = commands.finish(process)
    assert [line["status"] for line in requests(head + output) if line["id"] == "the-last"] == [200]
