"""From `make run` to the first task, with a new user account, an empty clone and downloaded packages."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.support.commands import PROJECT, environment
from tests.support.programs import program
from tests.support.service_process import ANSWERS

MOST_SECONDS = 60
NOWHERE = {
    "PIP_INDEX_URL": "http://127.0.0.1:9/",
    "PIP_FIND_LINKS": "",
    "PIP_CONFIG_FILE": os.devnull,
    "NO_PROXY": "127.0.0.1",
}


@dataclass(frozen=True)
class Newcomer:
    name: str
    home: Path

    def clone(self, name: str) -> Path:
        """A clone of the last commit, in a folder with a blank in its name."""
        folder = self.home / name
        subprocess.run([program("git"), "clone", "--quiet", "--no-hardlinks", str(PROJECT), folder], check=True)
        subprocess.run(["chown", "-R", self.name, folder], check=True)
        return folder

    @contextlib.contextmanager
    def runs(self, folder: Path, *command: str, **values: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
        """Starts a command; yields its process and log; at the end, stops a running process as Ctrl-C does."""
        user = pwd.getpwnam(self.name)
        values = {"HOME": str(self.home), "USER": self.name, "MAKEFLAGS": "", "MAKEOVERRIDES": "", **values}
        values = environment(**values)
        del values["PYTHONPATH"]
        log = self.home / f"{folder.name}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                cwd=folder, env=values, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                user=user.pw_uid, group=user.pw_gid, extra_groups=[],
            )  # fmt: skip
        try:
            yield process, log
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
                process.wait(timeout=60)


@pytest.fixture(scope="module")
def newcomer() -> Iterator[Newcomer]:
    """A user whose pip cache has the packages, because another clone was installed before."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a user account")
    with tempfile.TemporaryDirectory(prefix="todo-newcomer-") as parent:
        Path(parent).chmod(0o755)
        user = Newcomer(f"todo-{uuid.uuid4().hex[:8]}", Path(parent) / "home")
        subprocess.run([program("useradd"), "--create-home", "--home-dir", user.home, user.name], check=True)
        try:
            if (
                config := Path("~/.config/pip/pip.conf").expanduser()
            ).exists():  # the package sources of pip on this machine
                shutil.copytree(config.parent, user.home / ".config/pip")
                subprocess.run(["chown", "-R", user.name, user.home / ".config"], check=True)
            with user.runs(user.clone("warm up"), program("make"), ".venv/run.stamp") as (process, log):
                assert process.wait(timeout=600) == 0, log.read_text()
            yield user
        finally:
            subprocess.run([program("userdel"), user.name], check=True)


def first_task(url: str) -> int:
    account = {"email": "ada@example.com", "password": "correct horse"}
    token = httpx.post(f"{url}/api/auth/signup", json=account, timeout=30).json()["token"]
    task = httpx.post(f"{url}/api/tasks", json={"title": "Buy milk"}, headers={"Authorization": f"Bearer {token}"})
    return task.status_code


@pytest.mark.parametrize(("name", "values"), [("with a network", {}), ("without one", NOWHERE)])
def test_make_run_in_an_empty_clone_leads_to_a_task_within_a_minute(
    newcomer: Newcomer, name: str, values: dict[str, str]
) -> None:
    folder = newcomer.clone(name)
    began = time.monotonic()
    with newcomer.runs(folder, program("make"), "run", PORT="0", **values) as (process, log):
        while not (answers := ANSWERS.search(log.read_text())):
            assert process.poll() is None and time.monotonic() - began < MOST_SECONDS, log.read_text()
            time.sleep(0.05)
        status = first_task(answers[1])
        seconds = time.monotonic() - began
    print(f"\nFrom `make run` in an empty clone, {name}, to the first task: {seconds:.1f} s")
    assert status == 201
    assert seconds < MOST_SECONDS


def test_an_interrupted_installation_is_repeated(newcomer: Newcomer) -> None:
    folder = newcomer.clone("interrupted")
    with newcomer.runs(folder, program("make"), "migrate") as (process, log):
        while not list(folder.glob(".venv/lib/python*/site-packages/asyncpg")):
            assert process.poll() is None, log.read_text()
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=60)
    assert "Traceback" not in log.read_text() and "failed" not in log.read_text()
    with newcomer.runs(folder, program("make"), "migrate") as (process, log):
        assert process.wait(timeout=MOST_SECONDS) == 0, log.read_text()
