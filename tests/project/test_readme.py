"""Runs the README's shell blocks as they stand. A block that is not run says why in a comment above it:

<!-- not run: the reason -->
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.support.api import SECRET
from tests.support.commands import PROJECT, environment
from tests.support.service_process import ANSWERS, ServiceProcess

TEXT = (PROJECT / "README.md").read_text("utf-8")
BLOCK = re.compile(r"^(<!-- not run: \S[^\n]* -->\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = [
    (marker, block) for marker, language, block in BLOCK.findall(TEXT) if language in ("sh", "bash", "console", "")
]
RUN = [block for marker, block in SHELL if not marker]
MADE = shutil.ignore_patterns(
    ".git", ".venv", "venv", ".data", ".*_cache", ".hypothesis", "__pycache__", "node_modules"
)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of the project's files, with its virtual environment."""
    folder = tmp_path / "a clone"
    shutil.copytree(PROJECT, folder, ignore=MADE)
    (folder / ".venv").symlink_to(PROJECT / ".venv")
    for file in folder.glob("requirements*.txt"):
        os.utime(file, (0, 0))  # older than the installation's stamp, or make would install again
    return folder


def test_every_reason_is_directly_above_its_block() -> None:
    assert TEXT.count("<!-- not run:") == len([marker for marker, _ in SHELL if marker])
    assert TEXT.count("```") == 2 * len(BLOCK.findall(TEXT))
    assert RUN


@pytest.mark.parametrize("block", RUN, ids=lambda block: block.split("\n")[0].split("#")[0].strip())
def test_the_block_works(block: str, clone: Path, owner_url: str, service: ServiceProcess) -> None:
    values = {"PORT": "0", "BASE": service.url, "PATH": login_path(clone.parent / "bin"), **installed_before()}
    # `make test` only collects one file, or these tests would run themselves.
    values["ARGS"] = "--collect-only --quiet --numprocesses=0 tests/project/test_project_files.py"
    # Overrides the variables of a surrounding `make test ARGS=…`.
    values |= {"MAKEFLAGS": "", "MAKEOVERRIDES": ""}
    if "make run" not in block:  # which brings its own
        values |= {"DATABASE_URL": owner_url, "BETTER_AUTH_SECRET": SECRET}
    values = environment(**values)
    del values["PYTHONPATH"]
    for number, line in enumerate(block.splitlines()):
        run(line, clone, values, clone.parent / f"log {number}")


def login_path(folder: Path) -> str:
    """The PATH of a login shell, with the Python that the tests were installed with as its python3."""
    folder.mkdir()
    (folder / "python3").symlink_to(sys._base_executable)  # type: ignore[attr-defined]
    return f"{folder}:/usr/local/bin:/usr/bin:/bin"


def installed_before() -> dict[str, str]:
    """Settings that let pip use the packages that `make` has downloaded, without a network."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "todo-service", PROJECT / ".venv/wheels"
    wheels = next(cache for cache in caches if cache.is_dir())
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}


def run(line: str, folder: Path, values: dict[str, str], log: Path) -> None:
    """Runs a line until it succeeds or, if it starts a service, until that answers; then stops it as Ctrl-C does."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["sh", "-c", line],
            cwd=folder, env=values, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while process.poll() is None and not ANSWERS.search(log.read_text()):
            assert time.monotonic() < deadline, f"{line}: {log.read_text()}"
            time.sleep(0.05)
        if answers := ANSWERS.search(log.read_text()):
            assert httpx.get(f"{answers[1]}/health").json() == {"status": "healthy"}
        else:
            assert process.returncode == 0, f"{line}: {log.read_text()}"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(timeout=30)
    assert "Traceback" not in log.read_text()
