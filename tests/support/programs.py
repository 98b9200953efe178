"""The programs that tests start: a missing one skips the test on a person's machine and fails it where CI is set."""

import os
import re
import shutil
from collections.abc import Iterable
from glob import glob
from pathlib import Path
from typing import NoReturn

import pytest

LIST = Path(__file__).parent / "packages.txt"
"""What not every Debian has: a program and its package on each line; .ci/run reads it too."""
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


def advice(reasons: Iterable[str]) -> str | None:
    """One line that says what to install, made of the reasons why tests were skipped."""
    packages = dict(line.split() for line in LIST.read_text("utf-8").splitlines())
    pattern = re.compile(NOT_INSTALLED.format(r"(\S+)"))
    names = [found[1] for reason in reasons if (found := pattern.search(reason))]
    wanted = " ".join(sorted({packages.get(name, name) for name in names}))
    if not names:
        return None
    return f"{len(names)} tests need programs that are not installed. On Debian and Ubuntu: apt install {wanted}"
