"""The programs that tests start: a missing one skips the test on a person's machine and fails it where CI is set."""

import os
import shutil
from glob import glob
from typing import NoReturn

import pytest


def find(name: str) -> str | None:
    """The path of a program, also of Debian's PostgreSQL and of those in /usr/sbin; None where it is missing."""
    debian = sorted(glob("/usr/lib/postgresql/*/bin"), reverse=True)
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *debian, "/usr/sbin"]))


def program(name: str) -> str:
    """The path of a program that the test cannot do without."""
    return find(name) or missing(f"the program {name} is not installed")


def missing(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
