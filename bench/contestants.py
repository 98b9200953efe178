"""Who is measured: how each is installed, started and stopped. All get the same database, pool and worker count."""

import json
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from bench.database import ROOT

BENCH = Path(__file__).resolve().parent
CACHE = BENCH / ".cache"


@dataclass(frozen=True)
class Contestant:
    """A server that speaks the contract of the measured calls."""

    name: str
    folder: Path
    command: Callable[[dict[str, str]], list[str | Path]]
    install: Callable[[], None] = lambda: None
    missing: Callable[[], str | None] = lambda: None
    version: Callable[[], str] = lambda: ""


def install_python(name: str) -> None:
    """A virtual environment of its own, made anew when the pinned requirements changed."""
    home, requirements = CACHE / name, BENCH / name / "requirements.txt"
    stamp = home / "installed.txt"
    if stamp.exists() and stamp.read_bytes() == requirements.read_bytes():
        return
    venv.create(home, clear=True, with_pip=True)
    subprocess.run([home / "bin/pip", "install", "-q", "--require-hashes", "-r", requirements], check=True)
    shutil.copy(requirements, stamp)


def python(name: str) -> Contestant:
    def command(environment: dict[str, str]) -> list[str | Path]:
        options = ["--host", environment["HOST"], "--port", environment["PORT"], "--workers", environment["WORKERS"]]
        return [CACHE / name / "bin/uvicorn", "app:app", *options, "--no-access-log"]

    return Contestant(name, BENCH / name, command, lambda: install_python(name), version=lambda: python_version(name))


def install_fastify() -> None:
    folder = BENCH / "fastify"
    stamp, lock = folder / "node_modules/installed.json", folder / "package-lock.json"
    if stamp.exists() and stamp.read_bytes() == lock.read_bytes():
        return
    quiet = ["--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(["npm", "ci", "--omit=dev", *quiet], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    shutil.copy(lock, stamp)


def service_version() -> str:
    names = ("uvicorn", "starlette", "asyncpg", "uvloop", "httptools", "PyJWT")
    return ", ".join(f"{name} {version(name)}" for name in names)


def fastify_version() -> str:
    node = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    packages = json.loads((BENCH / "fastify/package.json").read_text())["dependencies"]
    return ", ".join([f"Node {node}", *(f"{name} {version}" for name, version in packages.items())])


def python_version(name: str) -> str:
    return ", ".join((BENCH / name / "requirements.in").read_text().replace("==", " ").split("\n")[:-1])


SERVICE = Contestant("service", ROOT, lambda _: [sys.executable, "-m", "service"], version=service_version)
CONTESTANTS = (
    SERVICE,
    python("fastapi_sqlmodel"),
    python("fastapi_asyncpg"),
    Contestant(
        "fastify",
        BENCH / "fastify",
        lambda _: ["node", "server.js"],
        install_fastify,
        lambda: None if shutil.which("node") and shutil.which("npm") else "Node.js is not installed",
        fastify_version,
    ),
)
