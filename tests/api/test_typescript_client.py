"""The TypeScript example: its types match the document, its compiler finds wrong names, and it runs."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from service.docs import OPENAPI
from tests.support.commands import PROJECT
from tests.support.programs import missing, program
from tests.support.service_process import ServiceProcess

EXAMPLE = Path("examples", "typescript")
RENAMED = [("Task", "completed", "done"), ("CreateTask", "title", "name")]


def run(folder: Path, *command: str, given: bytes | None = None) -> tuple[int, str]:
    """Exit status and all output."""
    done = subprocess.run(
        [program(command[0]), *command[1:]],
        cwd=folder,
        input=given,
        stdin=subprocess.DEVNULL if given is None else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=110,
    )
    return done.returncode, done.stdout.decode()


def make(folder: Path, target: str) -> tuple[int, str]:
    """Runs make with the existing virtual environment."""
    return run(folder, "make", "--old-file=.venv/run.stamp", target)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what `make client` needs, with the example's packages installed."""
    program("npm")
    folder = tmp_path_factory.mktemp("a clone")
    shutil.copy(PROJECT / "Makefile", folder)
    (folder / ".venv").symlink_to(PROJECT / ".venv")
    for part in (Path("service"), Path("sql"), EXAMPLE):
        shutil.copytree(PROJECT / part, folder / part, ignore=shutil.ignore_patterns("node_modules", "dist"))
    status, output = make(folder, str(EXAMPLE / "node_modules"))
    if status:
        missing(f"npm could not install the example's packages: {output}")
    return folder


@pytest.fixture(scope="module")
def example(clone: Path) -> Path:
    return clone / EXAMPLE


def test_the_committed_types_are_what_make_client_writes(clone: Path, example: Path) -> None:
    (example / "src" / "api.d.ts").unlink()
    status, output = make(clone, "client")
    assert status == 0, output
    made, committed = ((root / EXAMPLE / "src" / "api.d.ts").read_text("utf-8") for root in (clone, PROJECT))
    assert made == committed, "`make client` brings them up to date"


def test_the_example_runs_against_the_service(example: Path, service: ServiceProcess) -> None:
    status, output = run(example, "npm", "start", "--silent", "--", service.url)
    assert status == 0, output
    said = [line.split(", changed at ")[0] for line in output.splitlines() if not line.startswith("npm ")]
    assert said == [
        "Buy milk (two litres), open", "Buy oats (no description), open", "Buy oats (no description), done", "deleted",
    ]  # fmt: skip


def test_a_wrong_name_in_the_document_fails_the_build(example: Path) -> None:
    status, output = run(example, "npm", "run", "check")
    assert status == 0, output
    for schema, field, wrong in RENAMED:
        document = json.loads(OPENAPI)
        described = document["components"]["schemas"][schema]
        described["properties"][wrong] = described["properties"].pop(field)
        described["required"] = [wrong if name == field else name for name in described["required"]]
        status, output = run(example, "npm", "run", "generate", given=json.dumps(document).encode())
        assert status == 0, output
        status, output = run(example, "npm", "run", "check")
        assert status != 0
        assert f"'{field}'" in output
    run(example, "npm", "run", "generate", given=OPENAPI)


def test_the_example_does_not_bypass_the_types() -> None:
    config = json.loads((PROJECT / EXAMPLE / "tsconfig.json").read_text("utf-8"))
    assert config["compilerOptions"]["strict"] is True
    for file in (PROJECT / EXAMPLE / "src").glob("*[!d].ts"):
        assert not [word for word in ("any", "ts-ignore", "ts-nocheck", "ts-expect-error") if word in file.read_text()]
