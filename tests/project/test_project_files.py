"""The project's files: the Makefile's help, a reason for each dependency, no local paths."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.support.commands import PROJECT
from tests.support.programs import LIST, missing, program

ALWAYS_THERE = {"mount", "setpriv", "umount", "unshare", "useradd", "userdel"}  # util-linux and passwd
NOT_OURS = re.compile(
    r"/work/|/root/|/home/[a-z]|pypi\.org|pythonhosted\.org|npmjs\.(org|com)|debian\.org|ubuntu\.com|yarnpkg\.com|ghcr\.io"
)


def test_every_target_of_the_makefile_is_in_its_help() -> None:
    makefile = (PROJECT / "Makefile").read_text("utf-8")
    listed = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert listed
    targets = set(re.findall(r"^([a-z][a-z-]*):(?!=)", makefile, re.MULTILINE))
    assert targets == set(listed[1].split())
    assert targets == set(re.findall(r"^([a-z-]+):.*## \S", makefile, re.MULTILINE))


def test_every_dependency_has_a_reason() -> None:
    text = (PROJECT / "specs" / "dependencies.md").read_text("utf-8")
    explained = re.findall(r"^\| `([a-z0-9-]+)` \| \S", text, re.MULTILINE)
    needed = [
        name
        for file in sorted(PROJECT.glob("requirements*.in"))
        for name in re.findall(r"^([A-Za-z0-9-]+)[^=\s]*==", file.read_text("utf-8"), re.MULTILINE)
    ]
    assert sorted(explained) == sorted(needed)


def imported(folder: str) -> set[str]:
    """The third-party modules that the Python files of a folder import."""
    names = set()
    for file in (PROJECT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module)
    ours = {path.name for path in PROJECT.iterdir()}
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names - ours


@pytest.mark.parametrize(
    ("folders", "files"),
    [(["service"], ["requirements", "requirements-jwks"]), (["embedded", "tests", "tools"], ["requirements*"])],
)
def test_every_imported_package_is_in_a_requirements_file(folders: list[str], files: list[str]) -> None:
    texts = [path.read_text("utf-8") for name in files for path in PROJECT.glob(f"{name}.in")]
    declared = {name for text in texts for name in re.findall(r"^([a-z0-9-]+)[^=\s]*==", text, re.MULTILINE)}
    packages = packages_distributions()
    for module in set().union(*map(imported, folders)):
        names = {re.sub("[-_.]+", "-", name).lower() for name in packages.get(module, [module])}
        assert names & declared, f"{module} is imported and in no requirements*.in"


def test_every_program_that_tests_start_has_a_debian_package() -> None:
    """Or each Debian has it. `make test` names the missing packages, and .ci/run installs them."""
    known = {line.split()[0] for line in LIST.read_text("utf-8").splitlines()} | ALWAYS_THERE
    started = set()
    for file in (PROJECT / "tests").rglob("*.py"):
        started |= set(re.findall(r'\bprogram\("([^"{]+)"\)', file.read_text("utf-8")))
    assert started <= known, f"add {started - known} to {LIST.name}"


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    text = (PROJECT / "deploy/todo@.service").read_text("utf-8")
    python = re.search(r"^ExecStart=(/opt/todo/\S+) -m service$", text, re.MULTILINE)
    assert python and python[1].endswith("/venv/bin/python"), "as README.md installs it"
    # The program must exist for systemd-analyze.
    (tmp_path / "todo@8001.service").write_text(text.replace(python[1], sys.executable))
    command = [program("systemd-analyze"), "verify", "--man=no", str(tmp_path / "todo@8001.service")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_change_log_knows_the_documents_version() -> None:
    with (PROJECT / "specs" / "openapi.toml").open("rb") as file:
        version = tomllib.load(file)["document"]["info"]["version"]
    text = (PROJECT / "CHANGELOG.md").read_text("utf-8")
    releases = re.findall(r"^## \[(.+)\](?: - \d{4}-\d{2}-\d{2})?$", text, re.MULTILINE)
    assert releases[:2] == ["Unreleased", version]


def test_the_pre_commit_hook_runs_make_check_without_downloads() -> None:
    text = (PROJECT / ".pre-commit-config.yaml").read_text("utf-8")
    assert re.findall(r"\b(repo|entry|language): (.+)", text) == [
        ("repo", "local"),
        ("entry", "make check"),
        ("language", "system"),
    ]


def test_walks_md_names_existing_files() -> None:
    text = (PROJECT / "specs" / "walks.md").read_text("utf-8")
    named = re.findall(r"`((?:sql|service|specs|tests|examples)/[^`]+)`", text)
    assert len(named) > 40
    assert [name for name in named if not (PROJECT / name).exists()] == []
    made = re.findall(r"`make ([a-z]+)`", text)
    assert made
    assert set(made) <= set(re.findall(r"^([a-z-]+):.*## ", (PROJECT / "Makefile").read_text("utf-8"), re.MULTILINE))


def tracked() -> list[Path]:
    done = subprocess.run([program("git"), "-C", str(PROJECT), "ls-files", "-z"], capture_output=True, text=True)
    if done.returncode:
        missing("this is no clone, so git cannot name its files")
    return [PROJECT / name for name in done.stdout.split("\0") if name and (PROJECT / name).is_file()]


def test_no_file_names_a_local_path_or_a_registry() -> None:
    ours = [path for path in tracked() if path.suffix not in (".png", ".js") and path != Path(__file__)]
    found = {str(path): match[0] for path in ours if (match := NOT_OURS.search(path.read_text("utf-8")))}
    assert found == {}
    locks = [path for path in tracked() if path.name == "package-lock.json"]
    assert not any('"resolved"' in path.read_text("utf-8") for path in locks)
