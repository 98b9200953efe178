"""The PostgreSQL server of one data folder: created by initdb, started and stopped by pg_ctl."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from embedded.programs import EmbeddedError, find_programs, postgres_users, reason, run

ACCEPTING, REJECTING, SILENT = 0, 1, 2  # the exit statuses of pg_isready
ABSENT = 3  # no process listens
WAIT_SECONDS = 60  # for a server that starts or stops
POLL_SECONDS = 0.1
PORT = "5432"  # there is no TCP port, but the socket is named after one
INITDB = ("-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C")
LOCALE = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8")


class Server:
    """`name` is its name in messages; `url` leads to its database `postgres`."""

    def __init__(self, data: Path, name: str, say: Callable[[str], None]) -> None:
        self.data = data
        self._name = name
        self._say = say
        self._programs = find_programs()
        # The server's socket is in its data. Clients take a link to it: the path of a socket must be short (macOS: 103
        # bytes), and a comma in it would separate hosts.
        short = None if len(tempfile.gettempdir()) < 68 else "/tmp"  # noqa: S108 (a closed folder is made in it)
        self._link = tempfile.TemporaryDirectory(prefix="postgres-", dir=short)
        self._socket_dir = Path(self._link.name) / "db"
        self._socket_dir.symlink_to(data)
        self.url = f"postgresql://postgres@/postgres?host={quote(str(self._socket_dir), safe='')}&port={PORT}"

    def create(self) -> None:
        self._say(f"Creating the development database in {self._name} (first start only) …")
        new = self.data.with_name("data.new")  # renamed when complete: half a database is never taken for one
        if new.exists():
            shutil.rmtree(new)
        new.mkdir(mode=0o700)
        for user in postgres_users():
            os.chown(new, user, pwd.getpwuid(user).pw_gid)
        done = run(new, self._programs / "initdb", "-D", ".", *INITDB, *LOCALE)
        if done.returncode:
            raise EmbeddedError(f"The database could not be made in DATA_DIR={self._name}: {reason(done.stderr)}")
        new.rename(self.data)

    def start(self) -> None:
        """Starts the server, or reuses a running one; raises EmbeddedError."""
        if self._wait_until_settled() == ACCEPTING:
            return
        self._forget_dead_pid()
        log = self.data / "server.log"
        log.unlink(missing_ok=True)
        options = f"-k . -p {PORT} -h '' -c timezone=UTC -c log_timezone=UTC"
        done = self._pg_ctl("start", "-t", "5", "-l", log.name, "-o", options)
        if done.returncode and self._wait_until_settled() == ABSENT:
            why = reason(log.read_text(errors="replace") if log.exists() else done.stderr)
            what = f"The database in DATA_DIR={self._name} did not start ({why})"
            raise EmbeddedError(f"{what}: set another, for example DATA_DIR={self._name}-new.")

    def stop(self) -> None:
        """Stops the server if it runs; prints a message if that takes long."""
        # Checked first: after a crash, the pid that pg_ctl would signal may belong to another program.
        if (state := self.state()) == ABSENT:
            return
        if state == SILENT:
            self._pg_ctl("stop", "-m", "fast", "-W")  # a suspended server stops as soon as it continues
        else:
            for mode, seconds in (("fast", "2"), ("fast", "10"), ("immediate", "10")):
                if self._pg_ctl("stop", "-m", mode, "-t", seconds).returncode == 0:
                    return
                self._say(f"The database in {self._name} is still stopping …")
        self._say(f"The database in {self._name} does not stop: end its process, {self._pid()}.")

    def close(self) -> None:
        """Releases this object's resources without stopping the server."""
        self._link.cleanup()

    def state(self) -> int:
        """ACCEPTING, REJECTING, SILENT or ABSENT."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)
            try:
                probe.connect(str(self._socket_dir / f".s.PGSQL.{PORT}"))
            except (FileNotFoundError, ConnectionRefusedError):
                return ABSENT
            except BlockingIOError:
                return SILENT  # the backlog of its socket is full
        asked = ("-q", "-h", str(self._socket_dir), "-p", PORT, "-t", "2")
        return run(self._socket_dir.parent, self._programs / "pg_isready", *asked).returncode

    def wait(self, deadline: float) -> None:
        """Waits briefly; raises EmbeddedError after the deadline or if a blocked signal is pending."""
        if signal.sigpending():
            raise EmbeddedError("The start was interrupted.")
        if time.monotonic() > deadline:
            what = f"The database in DATA_DIR={self._name} neither answers nor ends"
            raise EmbeddedError(f"{what}: end its process, for example with `kill -QUIT {self._pid()}`.")
        time.sleep(POLL_SECONDS)

    def _wait_until_settled(self) -> int:
        """Waits until a server that starts, recovers, stops or hangs is ACCEPTING or ABSENT; returns which."""
        began, told = time.monotonic(), False
        while (state := self.state()) not in (ACCEPTING, ABSENT):
            if not told and time.monotonic() > began + 1:
                self._say(f"Waiting for the database in {self._name}, which is starting or stopping …")
                told = True
            self.wait(began + WAIT_SECONDS)
        return state

    def _forget_dead_pid(self) -> None:
        """Replaces the pid in the file if it belongs to another program since a crash: PostgreSQL would not start while
        that program runs. With an unused pid, its other check decides: the shared memory that the file names."""
        pid_file = self.data / "postmaster.pid"
        if not pid_file.exists() or self._is_postgres(self._pid()):
            return
        pid_file.write_bytes(b"\n".join([b"2147483647", *pid_file.read_bytes().splitlines()[1:], b""]))
        (self.data / f".s.PGSQL.{PORT}.lock").unlink(missing_ok=True)

    def _is_postgres(self, pid: int) -> bool:
        """Whether this process is the server of this data folder: that is its current folder. Without /proc, False."""
        with contextlib.suppress(OSError):
            return os.path.samefile(f"/proc/{pid}/cwd", self.data)
        return False

    def _pid(self) -> int:
        """The pid in PostgreSQL's pid file; 0 if there is none."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            return int((self.data / "postmaster.pid").read_text().split()[0])
        return 0

    def _pg_ctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run(self.data, self._programs / "pg_ctl", "-w", "-D", ".", *arguments)
