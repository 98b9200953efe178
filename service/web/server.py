"""uvicorn as this service runs it: one listening socket, one worker or several, and a word when it answers."""

import asyncio
import contextlib
import errno
import functools
import http.client
import multiprocessing.connection
import os
import secrets
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from multiprocessing.context import SpawnProcess
from typing import NoReturn

import uvicorn
from starlette.types import ASGIApp
from uvicorn.config import STARTUP_FAILURE

from service.config import Settings, SettingsError
from service.telemetry import log
from service.web.protocol import Protocol

STOP_SECONDS = 17.0
"""A worker that has not stopped by then hangs: its own limit is the 15 seconds below, and one for the database."""


def listening_socket(host: str, port: int) -> socket.socket:
    """Raises SettingsError where HOST or PORT does not do."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        return sock
    except (OSError, UnicodeError) as error:
        sock.close()
        code = getattr(error, "errno", None)
    if code == errno.EADDRINUSE:
        raise SettingsError(f"PORT={port} is taken on {host}: choose another, for example PORT={port % 65535 + 1}.")
    if code == errno.EACCES:
        raise SettingsError(f"PORT={port} is for root only: choose one above 1023, for example PORT=8000.")
    raise SettingsError(f"HOST={host} is no address of this machine: 127.0.0.1 is one, and 0.0.0.0 means all of them.")


class Server(uvicorn.Server):
    """One worker."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn's, which alone would reset those who wait in the listening socket's queue."""
        waiting = []
        for sock in sockets or ():
            with contextlib.suppress(OSError):  # the queue is empty
                while True:
                    waiting.append(sock.accept()[0])
        for server in self.servers:
            server.close()
        new = functools.partial(Protocol, self.config, self.server_state, self.lifespan.state)
        for connection in waiting:
            await asyncio.get_running_loop().connect_accepted_socket(new, connection)
        await asyncio.sleep(0)  # what was accepted last becomes a connection
        await super().shutdown(sockets)


def serve(
    create_app: Callable[[], ASGIApp], settings: Settings, sock: socket.socket, say: Callable[[str], None]
) -> NoReturn:
    """Serves the application that `create_app` (picklable) makes in each worker. Ends by KeyboardInterrupt on a signal,
    by SystemExit where the service cannot start."""
    config = uvicorn.Config(
        create_app,
        factory=True,
        loop="uvloop",
        http=Protocol,
        ws="none",
        lifespan="on",
        access_log=False,
        server_header=False,
        # Without a proxy that is known to set it, X-Forwarded-For is whatever the client says.
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_keep_alive=75,  # longer than proxies keep idle connections: else they send requests into closed ones
        timeout_graceful_shutdown=15,
        log_config=None,
        log_level=settings.log_level,
    )
    with _metrics(settings.metrics_host, settings.metrics_port) as ended:
        # Not before there is somebody to accept: until then a proxy turns to another instance.
        try:
            sock.listen(2048)
        except OSError:
            raise SettingsError(f"PORT={settings.port} has just been taken on {settings.host}.") from None
        threading.Thread(target=_announce, args=(sock, say), daemon=True).start()
        if settings.workers == 1:
            Server(config).run([sock])
        else:
            _supervise(config, sock, settings.workers, ended)
    raise KeyboardInterrupt


def _supervise(config: uvicorn.Config, sock: socket.socket, count: int, ended: Callable[[int | None], None]) -> None:
    """Keeps so many workers running until a signal, and tells of those that end; raises SystemExit where one cannot
    start."""
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    workers: list[SpawnProcess] = []
    while not stopping.is_set() and all(worker.exitcode != STARTUP_FAILURE for worker in workers):
        for worker in [worker for worker in workers if worker.exitcode is not None]:
            workers.remove(worker)
            ended(worker.pid)
        while len(workers) < count:
            workers.append(multiprocessing.get_context("spawn").Process(target=_work, args=(config, sock)))
            # A new process inherits the blocked signal, so that Ctrl-C cannot interrupt its imports with a traceback.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            workers[-1].start()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        multiprocessing.connection.wait([worker.sentinel for worker in workers], timeout=0.2)
    # First, or those who connect after the workers have stopped would wait for nobody.
    sock.close()
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join(STOP_SECONDS)
        worker.kill()
    if not stopping.is_set():
        raise SystemExit(STARTUP_FAILURE)


def _work(config: uvicorn.Config, sock: socket.socket) -> None:
    """A process that ends with its parent: an orphan would keep the port."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, daemon=True).start()
    log.start(str(config.log_level))
    config.configure_logging()  # which keeps uvicorn from a line for each request, too
    with contextlib.suppress(KeyboardInterrupt):
        Server(config).run([sock])


@contextlib.contextmanager
def _metrics(host: str, port: int) -> Iterator[Callable[[int | None], None]]:
    """Answers for the figures of all workers, which count in a folder that lives as long as they do; 0: does not.
    Wants to be told the pid of each that ends."""
    if not port:
        yield lambda pid: None
        return
    try:
        temporary = tempfile.TemporaryDirectory(prefix="todo-metrics-")
    except OSError:
        advice = "mount one at /tmp, or name one in TMPDIR"
        raise SettingsError(f"METRICS_PORT needs a folder for temporary files that may be written: {advice}.") from None
    with temporary as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # where prometheus_client looks, here and in the workers
        from service.telemetry import metrics

        try:
            metrics.serve(host, port)
        except OSError as error:
            raise SettingsError(
                f"METRICS_PORT={port} cannot be used on METRICS_HOST={host}: {error.strerror}."
            ) from None
        yield metrics.ended


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _announce(sock: socket.socket, say: Callable[[str], None]) -> None:
    """Says where the service is once it answers: the request waits in the socket's queue until then."""
    host, port = sock.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (nothing is bound here)
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    with contextlib.suppress(OSError, http.client.HTTPException):
        client = http.client.HTTPConnection(host, port)
        client.request("GET", "/livez")
        client.getresponse().read()
        body = f'{{"email": "try-{secrets.token_hex(4)}@example.com", "password": "correct horse"}}'
        say(f"The service answers at {url} and describes itself at {url}/docs. To try it:")
        say(f"  curl {url}/api/auth/signup -d '{body}'")
