"""nginx with the configuration in deploy/, apart from the files in site/."""

import json
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.api import BROWSER
from tests.support.certificates import make_certificate
from tests.support.commands import PROJECT
from tests.support.programs import program

OPTIONS = "max_fails=2 fail_timeout=1s"
"""The options of each upstream server, as in deploy/site/upstream.conf."""
SERVER = """
listen 127.0.0.1:{port} ssl;
server_name _;
ssl_certificate site/certificate.pem;
ssl_certificate_key site/key.pem;
"""


@dataclass(frozen=True)
class Nginx:
    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.folder / "site/certificate.pem")

    def client(self, address: str = "127.0.0.1", **headers: str) -> httpx.Client:
        """A client with this address that sends the headers of the frontend's page."""
        transport = httpx.HTTPTransport(verify=self.tls, local_address=address)
        return httpx.Client(base_url=self.url, transport=transport, headers={**BROWSER, **headers}, timeout=30)

    def requests(self) -> list[dict[str, Any]]:
        """nginx's log entries of all requests."""
        return [json.loads(line) for line in (self.folder / "access").read_text().splitlines()]

    def wait_for_request(self, request_id: str) -> dict[str, Any]:
        """The log entry of this request, which nginx writes after it has sent the answer."""
        deadline = time.monotonic() + 10
        while True:
            for line in self.requests():
                if line["id"] == request_id:
                    return line
            assert time.monotonic() < deadline, f"nginx did not log {request_id}"
            time.sleep(0.05)


@contextmanager
def nginx(*instances: int, **site: str) -> Iterator[Nginx]:
    """Runs nginx in front of the instances on these ports; `site` replaces files in site/."""
    with tempfile.TemporaryDirectory(prefix="todo-nginx-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the workers of a root-started nginx run as another user
        shutil.copytree(PROJECT / "deploy", folder, dirs_exist_ok=True)
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            started = Nginx(folder, free.getsockname()[1])
        _write_site(started, instances)
        for file, text in site.items():
            (folder / f"site/{file}.conf").write_text(text.replace("{port}", str(started.port)))
        command = [program("nginx"), "-p", name, "-c", "nginx.conf", "-g", "daemon off;"]
        with (folder / "access").open("ab") as access, (folder / "errors").open("ab") as errors:
            process = subprocess.Popen(command, stdout=access, stderr=errors)
        try:
            _wait(started, process)
            yield started
        finally:
            process.terminate()
            process.wait(timeout=20)


def _write_site(started: Nginx, instances: tuple[int, ...]) -> None:
    site = started.folder / "site"
    (site / "server.conf").write_text(SERVER.format(port=started.port))
    (site / "upstream.conf").write_text("".join(f"server 127.0.0.1:{port} {OPTIONS};\n" for port in instances))
    names = ("-subj", "/CN=todo.example.com", "-addext", "subjectAltName=IP:127.0.0.1")
    make_certificate(site, *names, "-keyout", "key.pem", "-out", "certificate.pem")


def _wait(started: Nginx, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", started.port)).close()
            return
        except ConnectionRefusedError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((started.folder / "errors").read_text()) from None
            time.sleep(0.02)
