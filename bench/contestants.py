"""Who is measured: how each is installed, started and stopped. All get the same database, pool and worker count."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from bench.database import ROOT, Database, free_port
from bench.load import ORIGIN, SECRET
from service.database import POOL_SIZE

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


CONTESTANTS = (
    Contestant("service", ROOT, lambda _: [sys.executable, "-m", "service"], version=service_version),
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


@dataclass(frozen=True)
class Running:
    port: int
    pid: int


@contextmanager
def running(contestant: Contestant, database: Database, workers: int) -> Iterator[Running]:
    """Starts it as it would be deployed, waits until it answers, and stops it with all its workers."""
    port = free_port()
    environment = os.environ | {
        "DATABASE_URL": database.url,
        "BETTER_AUTH_SECRET": SECRET,
        "FRONTEND_URL": ORIGIN,
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "WORKERS": str(workers),
        "POOL_SIZE": str(POOL_SIZE),
        "LOG_LEVEL": "info",
        "NODE_ENV": "production",
    }
    CACHE.mkdir(exist_ok=True)
    log = CACHE / f"{contestant.name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            contestant.command(environment), cwd=contestant.folder, env=environment,
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
    try:
        if not wait_for_answer(port, process):
            sys.exit(f"{contestant.name} does not start; its output is in {log.relative_to(ROOT)}.")
        yield Running(port, process.pid)
    finally:
        stop(process)


def wait_for_answer(port: int, process: subprocess.Popen[bytes], seconds: float = 30) -> bool:
    """Waits for an answer of any kind to a list without a token: every contestant says 401."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/tasks", timeout=5)
        except urllib.error.HTTPError as error:
            return error.code == 401
        except OSError:
            time.sleep(0.01)
    return False


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends the process as a deployment would, and after ten seconds its whole group by force."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(10)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
