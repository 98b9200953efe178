"""`make demo` with a running service: the account, its tasks, and a curl command that works."""

import os
import shlex
import subprocess

from tests.support.commands import PROJECT
from tests.support.programs import program
from tests.support.service_process import ServiceProcess


def demo(base: str) -> tuple[int, str, str]:
    command = [program("make"), "--silent", "--no-print-directory", "--old-file=.venv/run.stamp", "demo"]
    done = subprocess.run(
        command,
        cwd=PROJECT,
        env={**os.environ, "MAKEFLAGS": "", "BASE": base},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


def listed(output: str) -> str:
    """The answer to the printed curl command."""
    command, *arguments = shlex.split(output.splitlines()[-1])
    done = subprocess.run([program(command), "--silent", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    return done.stdout


def test_make_demo_creates_the_tasks_once_and_prints_a_token_each_time(service: ServiceProcess) -> None:
    status, output, errors = demo(service.url)
    assert (status, errors) == (0, "")
    tasks = listed(output)
    assert tasks.count('"completed": true') + tasks.count('"completed":true') == 1
    assert tasks.count('"title"') == 3
    status, output, _ = demo(service.url + "/")
    assert status == 0
    assert listed(output) == tasks


def test_make_demo_without_a_service_prints_one_sentence() -> None:
    status, output, errors = demo("http://127.0.0.1:9")
    assert status != 0
    assert output == ""
    first = errors.splitlines()[0]
    assert first.startswith("http://127.0.0.1:9 is no todo service that answers")
    assert "Traceback" not in errors
