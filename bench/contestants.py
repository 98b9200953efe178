"""The contestants: how each is installed and started. All have the same database, pool size and number of workers."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from bench import pythons
from bench.database import ROOT
from bench.pythons import CACHE

BENCH = Path(__file__).resolve().parent
GO_LIBRARIES = Path("/usr/share/gocode")


@dataclass(frozen=True)
class Contestant:
    """A server that implements the measured calls of the contract."""

    name: str
    folder: Path
    command: Callable[[dict[str, str]], list[str | Path]]
    install: Callable[[], None] = lambda: None
    missing: Callable[[], str | None] = lambda: None
    version: Callable[[], str] = lambda: ""


def options(environment: dict[str, str]) -> list[str]:
    return ["--host", environment["HOST"], "--port", environment["PORT"], "--workers", environment["WORKERS"]]


def uvicorn(name: str) -> Contestant:
    program = CACHE / name / "bin/uvicorn"
    return python(name, lambda environment: [program, "app:app", *options(environment), "--no-access-log"])


def granian(name: str) -> Contestant:
    program = CACHE / name / "bin/granian"
    chosen = ["--interface", "asgi", "--loop", "uvloop"]
    return python(name, lambda environment: [program, *chosen, *options(environment), "app:app"])


def python(name: str, command: Callable[[dict[str, str]], list[str | Path]]) -> Contestant:
    requirements = BENCH / name / "requirements.txt"
    return Contestant(
        name,
        BENCH / name,
        command,
        lambda: pythons.install(name, requirements),
        version=lambda: python_version(name),
    )


def install_fastify() -> None:
    folder = BENCH / "fastify"
    stamp, lock = folder / "node_modules/installed.json", folder / "package-lock.json"
    if stamp.exists() and stamp.read_bytes() == lock.read_bytes():
        return
    quiet = ["--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(["npm", "ci", "--omit=dev", *quiet], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    shutil.copy(lock, stamp)


def install_go() -> None:
    where = {"GO111MODULE": "off", "GOPATH": str(GO_LIBRARIES), "GOFLAGS": ""}
    command: list[str | Path] = ["go", "build", "-o", CACHE / "go_pgx/server", "."]
    subprocess.run(command, cwd=BENCH / "go_pgx", env=os.environ | where, check=True)


def missing_go() -> str | None:
    libraries = ("jackc/pgx/v4", "golang-jwt/jwt")
    if shutil.which("go") and all((GO_LIBRARIES / "src/github.com" / library).exists() for library in libraries):
        return None
    packages = "golang-go golang-github-jackc-pgx-v4-dev golang-github-golang-jwt-jwt-dev"
    return f"Go or its libraries are not installed (Debian and Ubuntu: apt install {packages})"


def service_version() -> str:
    names = ("uvicorn", "starlette", "asyncpg", "uvloop", "httptools", "PyJWT")
    return ", ".join(f"{name} {version(name)}" for name in names)


def fastify_version() -> str:
    node = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    packages = json.loads((BENCH / "fastify/package.json").read_text())["dependencies"]
    return ", ".join([f"Node {node}", *(f"{name} {version}" for name, version in packages.items())])


def python_version(name: str) -> str:
    return (BENCH / name / "requirements.in").read_text().strip().replace("==", " ").replace("\n", ", ")


def go_version() -> str:
    version = subprocess.run(["go", "version"], check=True, capture_output=True, text=True).stdout.split()[2]
    return f"Go {version.removeprefix('go')}, pgx 4"


SERVICE = Contestant(
    "service",
    ROOT,
    lambda _: [CACHE / "service/bin/python", "-m", "service"],
    lambda: pythons.install("service", ROOT / "requirements.txt"),
    version=service_version,
)
CONTESTANTS = (
    SERVICE,
    uvicorn("fastapi_sqlmodel"),
    uvicorn("fastapi_asyncpg"),
    granian("litestar_granian"),
    Contestant(
        "fastify",
        BENCH / "fastify",
        lambda _: ["node", "server.js"],
        install_fastify,
        lambda: None if shutil.which("node") and shutil.which("npm") else "Node.js is not installed",
        fastify_version,
    ),
    Contestant("go_pgx", BENCH / "go_pgx", lambda _: [CACHE / "go_pgx/server"], install_go, missing_go, go_version),
)
