"""Several workers: processes that share one socket, are replaced when they end, and end with their parent."""

import contextlib
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection

import uvicorn

from service.errors import StartError
from service.telemetry import log
from service.web.uvicorn_internals.graceful_server import Server

logger = logging.getLogger("service.web")

STOP_SECONDS = 17.0
"""A worker that has not stopped by then hangs: it has 15 seconds for requests, and the pool needs one to close."""
LONGEST_PAUSE_SECONDS = 30.0
"""Between two starts, where workers end before they are ready."""


class Worker:
    """One process."""

    def __init__(self, config: uvicorn.Config, sock: socket.socket) -> None:
        context = multiprocessing.get_context("spawn")
        self._readiness, given = context.Pipe(duplex=False)
        self.process = context.Process(target=_work, args=(config, sock, given))
        self.ready = False
        # The new process inherits the blocked signal: Ctrl-C cannot interrupt its imports with a traceback.
        # multiprocessing's resource tracker starts first, because its start unblocks the signal.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        self.process.start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        given.close()

    def wait_objects(self) -> list[int | Connection]:
        """What multiprocessing.connection.wait waits for: the process's end and, before it is ready, its message."""
        return [self.process.sentinel, *([] if self.ready else [self._readiness])]

    def update(self) -> None:
        """Reads whether the worker has become ready; end-of-file means that it ended first."""
        if not self.ready and self._readiness.poll():
            with contextlib.suppress(EOFError):
                self._readiness.recv_bytes()
                self.ready = True

    @property
    def ended(self) -> str:
        """How it ended; empty while it runs."""
        code = self.process.exitcode
        return "" if code is None else f"with status {code}" if code >= 0 else f"by signal {-code}"


class Supervisor:
    """Keeps `count` workers running. `on_ready` is called once, with the first ready worker; `on_end` with the pid of
    each that ended."""

    def __init__(
        self,
        config: uvicorn.Config,
        sock: socket.socket,
        count: int,
        on_ready: Callable[[], None],
        on_end: Callable[[int | None], None],
    ) -> None:
        self._config = config
        self._sock = sock
        self._count = count
        self._on_ready = on_ready
        self._on_end = on_end
        self._workers: list[Worker] = []
        self._served = False
        self._failures = 0
        self._next_start = 0.0

    def run(self) -> None:
        """Returns after SIGINT or SIGTERM; raises StartError where no worker is ready and one ends."""
        stopping = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopping.set())
        try:
            while not stopping.is_set():
                self._start_missing()
                waited = [each for worker in self._workers for each in worker.wait_objects()]
                multiprocessing.connection.wait(waited, timeout=0.2)
                self._update()
        finally:
            self._stop()

    def _start_missing(self) -> None:
        while len(self._workers) < self._count and time.monotonic() >= self._next_start:
            self._workers.append(Worker(self._config, self._sock))

    def _update(self) -> None:
        for worker in self._workers:
            worker.update()
        if not self._served and any(worker.ready for worker in self._workers):
            self._served = True
            self._on_ready()
        for worker in [worker for worker in self._workers if worker.ended]:
            self._remove(worker)

    def _remove(self, worker: Worker) -> None:
        self._workers.remove(worker)
        self._on_end(worker.process.pid)
        if not self._served:
            raise StartError(f"The service cannot start: a worker ended {worker.ended} before it was ready.")
        self._failures = 0 if worker.ready else self._failures + 1
        pause = min(2.0**self._failures, LONGEST_PAUSE_SECONDS) if self._failures else 0.0
        self._next_start = time.monotonic() + pause
        logger.error("worker %s ended %s, the next starts in %.0f s", worker.process.pid, worker.ended, pause)
        if not any(other.ready for other in self._workers):
            self._refuse_connections()

    def _refuse_connections(self) -> None:
        """Until the next worker is ready. Only Linux lets a listening socket go back to a bound one."""
        address = self._sock.getsockname()
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
            # Linux keeps the port, unless it had chosen it itself (PORT=0).
            self._sock.bind(address)

    def _stop(self) -> None:
        # First, or those who connect after the workers have stopped would wait in the queue for nobody.
        self._sock.close()
        # A worker that is not ready holds the socket open and accepts nothing.
        for worker in sorted(self._workers, key=lambda worker: worker.ready):
            worker.process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for worker in self._workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            worker.process.kill()


def _work(config: uvicorn.Config, sock: socket.socket, readiness: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, daemon=True).start()
    log.start(str(config.log_level))
    config.configure_logging()  # which keeps uvicorn from a line for each request, too
    try:
        Server(config, on_ready=lambda: readiness.send_bytes(b"ready")).run([sock])
    except StartError as error:
        raise SystemExit(str(error)) from None


def _end_with_parent() -> None:
    """An orphan would keep the port."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
