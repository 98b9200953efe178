"""Debian's PostgreSQL with TLS, with a certificate for the machine's address and its certificate authority."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.support.certificates import make_certificate
from tests.support.programs import missing, program

PASSWORD = "p@ss: w/?rd#[100%+1] é'\\"


@dataclass(frozen=True)
class Server:
    folder: Path
    address: str
    """Not a loopback address, so that the service treats it as another machine's."""
    port: int

    @property
    def authority(self) -> str:
        return quote(str(self.folder / "authority.crt"))

    def url(self, query: str = "", host: str = "", port: int = 0) -> str:
        address = f"{host or self.address}:{port or self.port}"
        return f"postgresql://some%20one:{quote(PASSWORD, '')}@{address}/post%20it?{query}"


def own_address() -> str:
    """This machine's address on its network; determined without sending a packet."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            missing("this machine has no network address besides 127.0.0.1")
        return str(probe.getsockname()[0])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


@contextmanager
def postgres(*, tls: bool) -> Iterator[Server]:
    """A server with password authentication, on all addresses and on a Unix socket in its folder."""
    program("postgres"), program("openssl")
    address = own_address()
    folder = Path(tempfile.mkdtemp(prefix="tls-"))
    server = Server(folder, address, free_port())
    try:
        _make_certificates(server)
        _make_cluster(server)
        settings = {
            "listen_addresses": "*",
            "port": server.port,
            "unix_socket_directories": folder,
            "fsync": "off",
            "ssl": "on" if tls else "off",
            "ssl_cert_file": folder / "server.crt",
            "ssl_key_file": folder / "server.key",
            "ssl_ca_file": folder / "authority.crt",
        }
        command = [program("postgres"), "-D", str(folder / "data")]
        command += [f"--{name}={value}" for name, value in settings.items()]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, **_not_root())
        try:
            _create_database(server)
            yield server
        finally:
            process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown
            process.wait(timeout=20)
    finally:
        shutil.rmtree(folder)


def _not_root() -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _make_cluster(server: Server) -> None:
    data, password = server.folder / "data", server.folder / "password"
    password.write_text(PASSWORD)
    not_root = _not_root()
    for path in (server.folder, *server.folder.iterdir()):
        os.chown(path, not_root.get("user", -1), not_root.get("group", -1))
    command = [program("initdb"), "-D", str(data), "-U", "some one", "-A", "scram-sha-256", "--pwfile", str(password)]
    command += ["-E", "UTF8", "--locale", "C", "--no-sync"]
    subprocess.run(command, check=True, capture_output=True, cwd=server.folder, **not_root)
    with (data / "pg_hba.conf").open("a") as rules:
        rules.write("host all all all scram-sha-256\n")


def _make_certificates(server: Server) -> None:
    authority = ("-keyout", "authority.key", "-out", "authority.crt", "-subj", "/CN=authority of the tests")
    signed = ("-CA", "authority.crt", "-CAkey", "authority.key", "-keyout", "server.key", "-out", "server.crt")
    names = ("-subj", "/CN=server", "-addext", f"subjectAltName=IP:{server.address}")
    make_certificate(server.folder, *authority)
    make_certificate(server.folder, *signed, *names, "-addext", "basicConstraints=critical,CA:FALSE")
    encrypt = [program("openssl"), "pkey", "-in", "server.key", "-aes256", "-passout", f"pass:{PASSWORD}"]
    subprocess.run([*encrypt, "-out", "client.key"], check=True, capture_output=True, cwd=server.folder)
    for name in ("server.key", "client.key"):
        (server.folder / name).chmod(0o600)


def _create_database(server: Server) -> None:
    command = [program("psql"), "-h", str(server.folder), "-p", str(server.port), "-U", "some one", "-d", "postgres"]
    command += ["-c", 'create database "post it"']
    deadline = time.monotonic() + 20
    while True:
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PGPASSWORD": PASSWORD})
        if done.returncode == 0:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"{done.stderr}\n{(server.folder / 'log').read_text()}")
        time.sleep(0.1)
