"""Errors that a new user may meet: each is one sentence that says what to change, and make's own last line."""

import getpass
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import PROJECT, environment
from tests.support.data_dir import copy_data_dir
from tests.support.programs import program

AS_ROOT = os.geteuid() == 0
FILES_OF_MAKE = [PROJECT / "Makefile", *PROJECT.glob("requirements*.txt")]
MAKE_ENDS = re.compile(r"make: \*\*\* \[Makefile:\d+: \S+\] Error \d+\n")
# Removes the variables of the `make test` that runs these tests.
OUTERMOST = {"MAKEFLAGS": "", "MAKEOVERRIDES": "", "MAKELEVEL": "0", "PYTHON": ""}


@pytest.fixture
def clone() -> Iterator[Path]:
    """The files that make needs, in a folder that other users may read, with a blank in its name."""
    with tempfile.TemporaryDirectory(prefix="first hour ") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for file in FILES_OF_MAKE:
            shutil.copy(file, folder)
        shutil.copytree(PROJECT / "tools", folder / "tools")
        yield folder


def make(folder: Path, *arguments: str, user: str | None = None, **values: str) -> tuple[str, str]:
    """stdout and stderr of a failing make, without make's own last line."""
    values = OUTERMOST | {"XDG_CACHE_HOME": str(folder / "cache"), **values}
    done = subprocess.run(
        [program("make"), *arguments],
        cwd=folder, env=environment(**values), user=user, capture_output=True, text=True, timeout=110,
    )  # fmt: skip
    assert done.returncode == 2
    assert MAKE_ENDS.search(done.stderr)
    return done.stdout, MAKE_ENDS.sub("", done.stderr)


def path_with(folder: Path, **scripts: str) -> str:
    """A PATH whose only Pythons are these scripts."""
    folder.mkdir()
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    for name in ("awk", "df", "id", "rm", "sed", "sh", "tail", "touch"):
        (folder / name).symlink_to(program(name))
    return str(folder)


# An old Python, and a version manager's script for a version that is not installed.
OLD = {"python3": "exit 1", "python3.12": "echo no such version >&2; exit 127"}


@pytest.mark.parametrize("scripts", [{}, OLD], ids=["none", "an old one"])
def test_without_a_suitable_python_make_says_so(clone: Path, tmp_path: Path, scripts: dict[str, str]) -> None:
    output, errors = make(clone, "run", PATH=path_with(tmp_path / "bin", **scripts))
    assert output == ""
    assert errors == (
        "Python 3.11 or newer is needed (tried: python3 python3.14 python3.13 python3.12 python3.11):"
        " install it, or name one, for example PYTHON=/opt/python/bin/python3.\n"
    )


def test_make_tries_only_the_python_that_is_named(clone: Path) -> None:
    _, errors = make(clone, "run", "PYTHON=/no such/python3")
    assert errors.startswith("Python 3.11 or newer is needed (tried: /no such/python3): ")
    assert errors.count("\n") == 1


def test_without_the_venv_module_make_names_debians_package(clone: Path, tmp_path: Path) -> None:
    (tmp_path / "ensurepip.py").write_text("raise ModuleNotFoundError\n")
    _, errors = make(clone, "run", "PYTHON=python3", PYTHONPATH=str(tmp_path))
    assert errors == "python3 lacks its venv module: on Debian and Ubuntu, apt install python3-venv brings it.\n"


def test_make_in_a_folder_of_another_user_prints_one_sentence(clone: Path) -> None:
    clone.chmod(0o555)
    _, errors = make(clone, "run", user="nobody" if AS_ROOT else None)
    user = "nobody" if AS_ROOT else getpass.getuser()
    assert errors == f"{clone} is not writable for you ({user}): put the clone into a folder of yours.\n"


@pytest.mark.skipif(not AS_ROOT, reason="only root can leave a folder of root's behind")
def test_make_after_root_ran_it_prints_one_sentence(clone: Path) -> None:
    clone.chmod(0o777)
    (clone / ".venv").mkdir()
    _, errors = make(clone, "run", user="nobody")
    assert errors == f"{clone}/.venv is not writable for you (nobody): remove it, and it is made anew.\n"


def test_make_while_venv_is_a_file_prints_one_sentence(clone: Path) -> None:
    (clone / ".venv").touch()
    _, errors = make(clone, "run")
    assert errors.startswith(".venv could not be made: ")
    assert errors.count("\n") == 1


def test_make_without_network_and_cache_prints_one_sentence(clone: Path) -> None:
    """The address of the package index is a closed port."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        nowhere = {"PIP_INDEX_URL": f"http://127.0.0.1:{nobody.getsockname()[1]}/", "PIP_FIND_LINKS": ""}
        others = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1", "PIP_RETRIES": "1", "NO_PROXY": "127.0.0.1"}
        output, errors = make(clone, "run", **nowhere, **others)
    assert "No answer from where the packages are. Trying again.\n" in output
    assert errors.startswith("The packages could not be downloaded: connect to the network, ")
    assert errors.count("\n") == 1
    assert not (clone / ".venv/run.stamp").exists()


ADVICE = f"choose a folder of your own, for example DATA_DIR={shlex.quote(str(Path.home() / 'todo-data'))}."


def start(folder: Path, data_dir: str, *through: str) -> str:
    """The error message of a service that cannot use its DATA_DIR."""
    done = subprocess.run(
        [*through, sys.executable, "-m", "service"],
        cwd=folder, env=environment(PORT="0", DATA_DIR=data_dir), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout.count("\n") <= 1  # the message that the database is being created
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_data_dir_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / ".data").touch()
    assert start(tmp_path, ".data") == (
        f"DATA_DIR=.data cannot be used (it must be a folder: {tmp_path}/.data): {ADVICE}\n"
    )


def test_a_data_dir_without_write_permission_is_an_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    as_others = [program("setpriv"), "--bounding-set=-dac_override", "--inh-caps=-dac_override"] if AS_ROOT else []
    assert start(tmp_path, ".data", *as_others) == (
        f"DATA_DIR=.data cannot be used (Permission denied: {tmp_path}/.data): {ADVICE}\n"
    )


def test_a_data_dir_of_an_older_postgresql_is_an_error(tmp_path: Path, stopped_data_dir: Path) -> None:
    data_dir = copy_data_dir(stopped_data_dir, tmp_path / "data")
    (data_dir / "postgres/data/PG_VERSION").write_text("17\n")
    sentence = start(tmp_path, "data")
    assert "initialized by PostgreSQL version 17, which is not compatible with this version 18." in sentence
    assert sentence.endswith("): set another, for example DATA_DIR=data-new.\n")


@pytest.mark.skipif(not AS_ROOT, reason="only root may mount a file system of its own")
def test_a_data_dir_on_a_full_disk_is_an_error(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run([program("mount"), "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], check=True)
    try:
        sentence = start(tmp_path, "disk/data")
        assert "No space left on device" in sentence
        assert sentence.startswith("The database could not be made in DATA_DIR=")
        for file in FILES_OF_MAKE:
            shutil.copy(file, disk)
        shutil.copytree(PROJECT / "tools", disk / "tools")
        _, errors = make(disk, "run")
        assert re.fullmatch(r"The disk is full: \.venv needs 300 MB here, and \d MB are free\.\n", errors)
        # Enough space for `make run`, whose packages are installed, but not for `make test`.
        subprocess.run([program("mount"), "-o", "remount,size=500m", disk], check=True)
        (disk / ".venv/bin").mkdir(parents=True)
        (disk / ".venv/bin/python").symlink_to(sys.executable)
        (disk / ".venv/run.stamp").touch()
        _, errors = make(disk, "setup")
        assert re.fullmatch(r"The disk is full: \.venv needs 600 MB here, and \d{3} MB are free\.\n", errors)
    finally:
        subprocess.run([program("umount"), disk], check=True)


def test_make_without_a_target_prints_the_help() -> None:
    """tests/project/test_project_files.py checks that the help names every target."""
    default, helped = (
        subprocess.check_output(
            [program("make"), "--no-print-directory", *target], cwd=PROJECT, env=environment(**OUTERMOST), text=True
        )
        for target in ([], ["help"])
    )
    makefile = (PROJECT / "Makefile").read_text("utf-8")
    targets = re.findall(r"^([a-z-]+):.*## (\S.*)$", makefile, re.MULTILINE)
    assert default == helped
    assert re.findall(r"^  make (\S+) +(\S.*)$", default, re.MULTILINE) == targets
