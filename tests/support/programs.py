"""The programs that tests start: a missing one skips the test on a person's machine and fails it where CI is set."""

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from glob import glob
from pathlib import Path
from typing import NoReturn

import pytest

LIST = Path(__file__).parent / "packages.txt"
"""What not every Debian has: a program and its package on each line; .ci/run reads it too."""
OF_DRILLS = {"debootstrap", "docker", "dockerd"}
NOT_INSTALLED = "the program {} is not installed"


def find(name: str) -> str | None:
    """The path of a program, also of Debian's PostgreSQL and of those in /usr/sbin; None where it is missing."""
    debian = sorted(glob("/usr/lib/postgresql/*/bin"), reverse=True)
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *debian, "/usr/sbin"]))


def program(name: str) -> str:
    """The path of a program that the test cannot do without."""
    return find(name) or missing(NOT_INSTALLED.format(name))


def missing(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def summary(reasons: Sequence[str]) -> Iterator[str]:
    """Why tests were skipped; for all those that lack a program one line that says what to install."""
    lacking = [reason for reason in reasons if re.search(NOT_INSTALLED.format(r"\S+"), reason)]
    yield from sorted(set(reasons) - set(lacking))
    if lacking:
        programs = [line.split() for line in LIST.read_text("utf-8").splitlines()]
        packages = {package for program, package in programs if program not in OF_DRILLS and not find(program)}
        install = f"On Debian: apt install {' '.join(sorted(packages))}"
        yield f"{len(lacking)} tests need programs that are not installed. {install}"
