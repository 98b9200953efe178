"""A real Better Auth, from npm, as a process: people sign up with it and get its tokens."""

import json
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.api import PASSWORD, User
from tests.support.programs import missing, program

APP = Path(__file__).parent / "better_auth"


def install(folder: Path) -> Path:
    """Copies the application there and installs what it needs."""
    app = shutil.copytree(APP, folder / "app", ignore=shutil.ignore_patterns("node_modules"))
    command = [program("npm"), "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(command, cwd=app, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=110)
    if done.returncode:
        missing(f"npm could not install Better Auth: {done.stdout}")
    return app


@dataclass(frozen=True)
class Person:
    better_auth: str
    id: str
    """The id in Better Auth; the service derives another one from it."""
    email: str
    cookies: str

    def user(self) -> User:
        """The same person as a user of the service, with a new token."""
        response = httpx.get(f"{self.better_auth}/api/auth/token", headers={"Cookie": self.cookies}, timeout=20)
        issuer = uuid.uuid5(uuid.NAMESPACE_URL, self.better_auth)
        return User(str(uuid.uuid5(issuer, self.id)), self.email, response.raise_for_status().json()["token"])


@dataclass(frozen=True)
class BetterAuth:
    url: str
    process: subprocess.Popen[str]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def sign_up(self, email: str) -> Person:
        sent = {"name": "Somebody", "email": email, "password": PASSWORD}
        response = httpx.post(f"{self.url}/api/auth/sign-up/email", json=sent, timeout=20).raise_for_status()
        cookies = "; ".join(f"{name}={value}" for name, value in response.cookies.items())
        return Person(self.url, response.json()["user"]["id"], email, cookies)

    def keys(self) -> list[dict[str, Any]]:
        """Its key pairs, with unencrypted private keys."""
        rows: list[dict[str, Any]] = httpx.get(f"{self.url}/keys").raise_for_status().json()
        return rows

    def withdraw_keys(self) -> None:
        httpx.delete(f"{self.url}/keys").raise_for_status()


@contextmanager
def start(
    app: Path, port: int = 0, alg: str = "EdDSA", life: str = "15m", rotation: int | None = None
) -> Iterator[BetterAuth]:
    """`rotation`: seconds after which a new key signs, while the old one stays published."""
    options = json.dumps({"port": port, "alg": alg, "expirationTime": life, "rotationInterval": rotation})
    command = [program("node"), "server.js", options]
    with subprocess.Popen(command, cwd=app, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            assert "answers at" in line, line
            url = line.split()[-1]
            # Generates the first key; two simultaneous requests would generate two.
            httpx.get(f"{url}/api/auth/jwks", timeout=20).raise_for_status()
            yield BetterAuth(url, process)
        finally:
            process.kill()
