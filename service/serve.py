"""uvicorn as this service runs it: one listening socket, one worker or several, and a word when it answers."""

import contextlib
import errno
import http.client
import multiprocessing
import os
import secrets
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

import uvicorn
from starlette.types import ASGIApp
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from service import log
from service.app import create_app
from service.config import Settings, SettingsError
from service.protocol import Protocol


def listening_socket(host: str, port: int) -> socket.socket:
    """Raises SettingsError where HOST or PORT does not do."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(2048)
        return sock
    except (OSError, UnicodeError) as error:
        sock.close()
        code = getattr(error, "errno", None)
    if code == errno.EADDRINUSE:
        raise SettingsError(f"PORT={port} is taken on {host}: choose another, for example PORT={port % 65535 + 1}.")
    if code == errno.EACCES:
        raise SettingsError(f"PORT={port} is for root only: choose one above 1023, for example PORT=8000.")
    raise SettingsError(f"HOST={host} is no address of this machine: 127.0.0.1 is one, and 0.0.0.0 means all of them.")


def serve(settings: Settings, sock: socket.socket, say: Callable[[str], None]) -> NoReturn:
    """Ends by KeyboardInterrupt on a signal, by SystemExit where the service cannot start."""
    config = uvicorn.Config(
        "service.serve:create_worker",
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
        timeout_worker_healthcheck=30,
        log_config=log.config(settings.log_level),
        log_level=settings.log_level,
        workers=settings.workers,
    )
    with _metrics(settings.metrics_port):
        threading.Thread(target=_announce, args=(sock, say), daemon=True).start()
        if settings.workers == 1:
            uvicorn.Server(config).run(sockets=[sock])
        else:
            on_hangup = signal.getsignal(signal.SIGHUP)
            supervisor = Multiprocess(config, sockets=[sock])
            signal.signal(signal.SIGHUP, on_hangup)  # uvicorn's would go on without the terminal, with new workers
            supervisor.run()
            if any(worker.exitcode == STARTUP_FAILURE for worker in supervisor.processes):
                raise SystemExit(STARTUP_FAILURE)
    raise KeyboardInterrupt


@contextlib.contextmanager
def _metrics(port: int) -> Iterator[None]:
    """Answers for the figures of all workers, which count in a folder that lives as long as they do; 0: does not."""
    if not port:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="todo-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # where prometheus_client looks, here and in the workers
        from service import metrics

        try:
            metrics.serve(port, folder)
        except OSError as error:
            raise SettingsError(f"METRICS_PORT={port} cannot be had on {metrics.ADDRESS}: {error.strerror}.") from None
        yield


def create_worker() -> ASGIApp:
    """create_app, in a process that ends with its parent: an orphan would keep the port."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    return create_app()


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
