"""The development database: its folder, its lock, the token secret, and its server."""

import contextlib
import fcntl
import os
import secrets
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from embedded.folders import check_private_folder, make_private_folder, open_private_file
from embedded.programs import EmbeddedError, postgres_users
from embedded.server import ACCEPTING, WAIT_SECONDS, Server


class InUseError(EmbeddedError):
    """Another process runs this database."""


class Embedded:
    """`data_dir` contains the lock, the secret and `postgres/`; other users may not enter that folder with `data/`."""

    def __init__(self, data_dir: Path, say: Callable[[str], None]) -> None:
        self.data_dir = data_dir
        self.data = Path(os.path.realpath(data_dir)) / "postgres" / "data"
        self._say = say
        self.url = self.secret = ""  # of the database and for BETTER_AUTH_SECRET, once started
        self._server: Server | None = None
        self._lock: IO[bytes] | None = None

    def start(self) -> None:
        """Starts the server, after an initdb if necessary, or reuses a running one; raises EmbeddedError."""
        with self._errors_as_sentences():
            server = self._open()
            self._take_lock()
            self.secret = self._read_secret()
            if not self.data.exists():
                server.create()
            check_private_folder(self.data, *postgres_users())
            server.start()
        self.url = server.url

    def reach(self) -> None:
        """Uses the server that another process, such as `make run`, has started; if there is none, calls start()."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not self.url:
            with contextlib.suppress(InUseError):
                return self.start()
            with self._errors_as_sentences():
                server = self._open()
                if server.state() == ACCEPTING:
                    self.secret, self.url = self._read_secret(), server.url
                else:
                    server.wait(deadline)  # the other process is starting or stopping it
        return None

    def stop(self) -> None:
        """Stops the server if this process has started it. May be called twice, and after a failed start."""
        if self._server:
            if self._lock:
                self._server.stop()
            self._server.close()
        if self._lock:
            self._lock.close()
        self._server = self._lock = None
        self.url = ""

    @contextlib.contextmanager
    def _errors_as_sentences(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            what = f"DATA_DIR={self.data_dir} cannot be used ({error.strerror}: {error.filename})"
            example = shlex.quote(str(Path.home() / "todo-data"))
            raise EmbeddedError(f"{what}: choose a folder of your own, for example DATA_DIR={example}.") from error

    def _open(self) -> Server:
        """Creates the folders; raises OSError if another user could change their contents."""
        if self._server is None:
            self.data = make_private_folder(self.data_dir) / "postgres" / "data"
            self.data.parent.mkdir(mode=0o700, exist_ok=True)
            check_private_folder(self.data.parent)
            self._server = Server(self.data, str(self.data_dir), self._say)
        return self._server

    def _read_secret(self) -> str:
        with os.fdopen(open_private_file(self.data.parents[1] / "secret"), "r+") as file:
            if not (secret := file.read()):
                file.write(secret := secrets.token_urlsafe(48))
            return secret

    def _take_lock(self) -> None:
        lock = os.fdopen(open_private_file(self.data.parents[1] / "lock"), "r+b")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            what = f"DATA_DIR={self.data_dir} is in use by another copy"
            raise InUseError(f"{what}: stop it, or start this with DATA_DIR=.data2 and PORT=8001.") from None
        self._lock = lock
