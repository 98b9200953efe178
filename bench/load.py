"""Measures a server with wrk, and checks its answers."""

import functools
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt

SCRIPT = Path(__file__).resolve().parent / "wrk.lua"
SECRET = "a secret of the benchmark, 32 bytes or more"
ORIGIN = "http://localhost:3000"
FIELDS = {"id", "title", "description", "completed", "user_id", "created_at", "updated_at"}

NEW = {"title": "Made by the benchmark", "description": "What there is to be done, in a few more words"}
CHANGE = {"title": "Changed by the benchmark", "completed": True}
BODIES = {"POST": NEW, "PUT": CHANGE}


class Wrong(Exception):
    """A server's answer violates the contract."""


@dataclass(frozen=True)
class Measured:
    """The result of one run of wrk; latencies in milliseconds."""

    requests: int
    seconds: float
    refused: int
    broken: int
    p50: float
    p99: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


def install_wrk() -> None:
    if shutil.which("wrk"):
        return
    apt = shutil.which("apt-get")
    if apt is None or subprocess.run([apt, "install", "-y", "-q", "wrk"], capture_output=True).returncode:
        sys.exit("The benchmark needs the load generator wrk: sudo apt-get install wrk")


@functools.cache
def token(user: UUID) -> str:
    """One for each user and the whole run, as a browser keeps its token for a day."""
    now = int(time.time())
    claims = {"user_id": str(user), "sub": str(user), "email": "user@example.com", "iat": now, "exp": now + 86_400}
    return jwt.encode(claims, SECRET, "HS256")


def write_targets(file: Path, targets: Iterable[tuple[UUID, str]]) -> Path:
    """Writes the file that wrk.lua reads: tokens and paths."""
    with file.open("w") as out:
        for user, path in targets:
            out.write(f"{token(user)} {path}\n")
    return file


def drive(port: int, method: str, targets: Path, connections: int, seconds: float) -> Measured:
    body = [json.dumps(BODIES[method])] if method in BODIES else []
    wrk = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout=10s", "-s", str(SCRIPT)]
    command = [*wrk, f"http://127.0.0.1:{port}", "--", method, str(targets), *body]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    line = next(line for line in out.splitlines() if line.startswith("JSON "))
    return Measured(**json.loads(line.removeprefix("JSON ")))


def ask(port: int, method: str, path: str, user: UUID) -> tuple[int, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        body = json.dumps(BODIES[method]) if method in BODIES else None
        headers = {"Authorization": f"Bearer {token(user)}", "Content-Type": "application/json", "Origin": ORIGIN}
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        raw = response.read()
        if response.getheader("access-control-allow-origin") != ORIGIN:
            raise Wrong(f"{method} {path}: no CORS header for {ORIGIN}")
        return response.status, json.loads(raw) if raw else None
    finally:
        connection.close()


def expect(what: str, right: bool, answer: object) -> None:
    if not right:
        raise Wrong(f"{what} was answered with {str(answer)[:300]}")


def probe(port: int, reader: UUID, tasks: int, stranger: UUID) -> None:
    """Sends every measured call once and checks the whole answer; also another user's attempt, and a bad token."""
    status, body = ask(port, "GET", "/api/tasks", reader)
    expect("the list", status == 200 and len(body["tasks"]) == tasks, (status, body))
    times = [task["created_at"] for task in body["tasks"]]
    expect("the list", times == sorted(times, reverse=True) and all(time.endswith("Z") for time in times), times)

    status, body = ask(port, "POST", "/api/tasks", stranger)
    made = body["task"]
    same = set(made) >= FIELDS and NEW.items() <= made.items() and made["user_id"] == str(stranger)
    expect("a create", status == 201 and same and made["completed"] is False, (status, body))

    path = f"/api/tasks/{made['id']}"
    expect("a get", ask(port, "GET", path, stranger) == (200, {"task": made}), path)
    expect("another's get", ask(port, "GET", path, reader) == (404, {"error": "Task not found"}), path)
    status, body = ask(port, "PUT", path, stranger)
    changed = body["task"]
    same = (
        changed == made | CHANGE | {"updated_at": changed["updated_at"]} and changed["updated_at"] >= made["updated_at"]
    )
    expect("an update", status == 200 and same, (status, body))
    expect("a delete", ask(port, "DELETE", path, stranger) == (204, None), path)
    expect("a second delete", ask(port, "DELETE", path, stranger) == (404, {"error": "Task not found"}), path)
