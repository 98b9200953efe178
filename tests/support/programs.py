"""Programs that tests start. If one is missing, the test is skipped, or fails if the variable CI is set."""

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from glob import glob
from pathlib import Path
from typing import NoReturn

import pytest

LIST = Path(__file__).parent / "packages.txt"
"""A program and its Debian package on each line, for those that not every Debian has; .ci/run reads it too."""
OF_DRILLS = {"debootstrap", "docker", "dockerd"}
NOT_INSTALLED = "the program {} is not installed"


def find(name: str) -> str | None:
    """The path of a program, also in /usr/sbin and in the folders of Debian's PostgreSQL; None if it is missing."""
    debian = sorted(glob("/usr/lib/postgresql/*/bin"), reverse=True)
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *debian, "/usr/sbin"]))


def program(name: str) -> str:
    """The path of a program that the test needs."""
    return find(name) or missing(NOT_INSTALLED.format(name))


def missing(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def summary(reasons: Sequence[str]) -> Iterator[str]:
    """The reasons of skipped tests; missing programs are combined into one line that says what to install."""
    lacking = [reason for reason in reasons if re.search(NOT_INSTALLED.format(r"\S+"), reason)]
    yield from sorted(set(reasons) - set(lacking))
    if lacking:
        programs = [line.split() for line in LIST.read_text("utf-8").splitlines()]
        packages = {package for program, package in programs if program not in OF_DRILLS and not find(program)}
        install = f"On Debian: apt install {' '.join(sorted(packages))}"
        yield f"{len(lacking)} tests need programs that are not installed. {install}"
