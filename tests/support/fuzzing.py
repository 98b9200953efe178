"""Schemathesis with a real process: generates requests from the OpenAPI document and checks the answers."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg

from tests.support.api import insert_user
from tests.support.commands import PROJECT
from tests.support.databases import Template
from tests.support.service_process import ServiceProcess, start_service

PROGRAM = Path(sys.executable).with_name("schemathesis")
SETTINGS = Path(__file__).with_name("schemathesis.toml")


class Report(NamedTuple):
    requests: int
    output: str


@contextmanager
def target(template: Template) -> Iterator[tuple[ServiceProcess, str]]:
    """The service without a limit on failed log-ins, and a user's token."""
    with template.copy() as name, start_service(template.service_url(name), LOGIN_FAILURE_LIMIT="0") as service:
        with psycopg.connect(template.owner_url(name), autocommit=True) as owner:
            user = insert_user(owner)
        yield service, user.token


def run(service: ServiceProcess, user: str, folder: Path, examples: int, *options: str) -> Report:
    """Up to `examples` requests for each operation and phase; fails with Schemathesis's own report."""
    command = [str(PROGRAM), "--config-file", str(SETTINGS), "run", f"{service.url}/openapi.json"]
    command += ["--checks", "all", "--mode", "all"]
    command += ["--phases", "examples,coverage,fuzzing,stateful", "--max-examples", str(examples), "--no-color"]
    command += ["--header", f"Authorization: Bearer {user}", "--report", "json", "--report-json-path", "report.json"]
    # bcrypt runs at a low priority, so on a busy machine a log-in takes long.
    command += ["--continue-on-failure", "--request-timeout", "60", *options]
    environ = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.support.fuzzing_hooks", "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((folder / "report.json").read_text("utf-8"))
    assert (report["complete"], report["failures"], report["errors"]) == (True, [], [])
    assert report["operations"]["tested"] == report["operations"]["total"] == 11
    assert {phase["status"] for phase in report["phases"].values()} == {"success"}
    log = service.log.read_text()
    assert "Traceback" not in log, log[-4000:]
    return Report(report["test_cases"]["generated"], done.stdout)
