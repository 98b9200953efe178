"""A small frontend: a page with its own origin, whose JavaScript calls the service."""

import functools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.chromium import Page


class Answer(NamedTuple):
    """The parts of an answer that JavaScript could read; status 0 is fetch's "network error"."""

    status: int
    body: Any
    headers: dict[str, str]


class Frontend:
    def __init__(self, page: Page, service: str) -> None:
        self.page = page
        self.service = service

    def call(self, method: str, path: str, *body: Any, **headers: str) -> Answer:
        """`headers`: names with `_` in place of `-`."""
        sent = json.dumps(body[0]) if body else "undefined"
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        arguments = f"{json.dumps(method)}, {json.dumps(self.service + path)}, {sent}, {json.dumps(more)}"
        return Answer(**self.page.evaluate(f"call({arguments})"))

    def enter(self, call: str, email: str, password: str) -> Answer:
        """Signs up or logs in; the page keeps the token and sends it from then on."""
        return self.call("POST", f"/api/auth/{call}", {"email": email, "password": password})

    def use(self, token: str | None) -> None:
        self.page.evaluate(f"token = {json.dumps(token)}")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def origin(port: int) -> Iterator[str]:
    """Serves page.html and yields its origin, with this port or, if it is in use, another one."""
    handler = functools.partial(_Quiet, directory=str(Path(__file__).parent / "frontend"))
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError:
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://localhost:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
