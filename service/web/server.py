"""uvicorn as this service runs it: one listening socket, one worker or several."""

import contextlib
import errno
import os
import secrets
import socket
import tempfile
from collections.abc import Callable, Iterator
from typing import NoReturn

import uvicorn
from starlette.types import ASGIApp

from service.config import Settings, SettingsError
from service.web.supervisor import Supervisor
from service.web.uvicorn_internals.connection import Connection
from service.web.uvicorn_internals.graceful_server import Server

SEND_BUFFER_BYTES = 64 * 1024
"""The kernel doubles it. Without it the kernel buffers megabytes for a client that does not read."""
UNACKNOWLEDGED_SECONDS = 30
"""A client that acknowledges nothing for so long, or has no room in its receive buffer, is disconnected."""


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket that refuses connections until a worker listens; raises SettingsError for a bad HOST or PORT."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Accepted sockets inherit these.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # not on macOS
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_SECONDS * 1000)
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


def serve(
    create_app: Callable[[], ASGIApp], settings: Settings, sock: socket.socket, say: Callable[[str], None]
) -> NoReturn:
    """Serves the application that `create_app` (picklable) makes in each worker. Raises KeyboardInterrupt after a stop
    signal, StartError where no worker can start."""
    config = uvicorn.Config(
        create_app,
        factory=True,
        loop="uvloop",
        http=Connection,
        ws="none",
        lifespan="on",
        access_log=False,
        server_header=False,
        # A client can send any X-Forwarded-For: it counts only from a proxy that is known to overwrite it.
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        # Longer than proxies keep idle connections, or they would send requests into connections that are closed.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=15,
        log_config=None,
        log_level=settings.log_level,
    )

    def announce() -> None:
        for line in _first_lines(*sock.getsockname()[:2]):
            say(line)

    with _metrics(settings.metrics_host, settings.metrics_port) as on_end:
        if settings.workers == 1:
            Server(config, on_ready=announce).run([sock])
        else:
            Supervisor(config, sock, settings.workers, on_ready=announce, on_end=on_end).run()
    raise KeyboardInterrupt


@contextlib.contextmanager
def _metrics(host: str, port: int) -> Iterator[Callable[[int | None], None]]:
    """Serves the metrics of all workers, unless `port` is 0. Yields a callback for the pid of a worker that ended."""
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


def _first_lines(host: str, port: int) -> list[str]:
    """Where the service answers, and a command that tries it."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (nothing is bound here)
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    body = f'{{"email": "try-{secrets.token_hex(4)}@example.com", "password": "correct horse"}}'
    return [
        f"The service answers at {url} and describes itself at {url}/docs. To try it:",
        f"  curl {url}/api/auth/signup -d '{body}'",
    ]
