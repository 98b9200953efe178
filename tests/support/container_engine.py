"""A container engine: the running one, or one that root starts for the tests.

That one has no registry, so the base image is built here: Debian by debootstrap, with the packages that the Dockerfile
installs, tagged with the name in the Dockerfile.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.commands import PROJECT
from tests.support.programs import missing, program

DEBIAN = "trixie"  # its Python is the Dockerfile's
REQUIREMENTS = [PROJECT / name for name in ("requirements.txt", "requirements-jwks.txt")]
BASE = """
FROM debian
COPY wheels /wheels
COPY pip.conf /etc/pip.conf
RUN ln -s /usr/bin/python3 /usr/local/bin/python && ln -s /usr/bin/pip /usr/local/bin/pip
# The official image has no bytecode either.
RUN find / -xdev -name '*.pyc' -delete
"""


class Engine:
    """The `docker` command, with the variables that name the engine."""

    def __init__(self, build_options: tuple[str, ...] = (), **variables: str) -> None:
        self.build_options = build_options
        self._environment = {**os.environ, **variables}

    def run(self, *arguments: str | Path, seconds: float = 60) -> tuple[int, str]:
        """Status and output, stderr included."""
        done = subprocess.run(
            [program("docker"), *map(str, arguments)],
            env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds,
        )  # fmt: skip
        return done.returncode, done.stdout

    def check(self, *arguments: str | Path, seconds: float = 60) -> str:
        status, output = self.run(*arguments, seconds=seconds)
        assert status == 0, output
        return output.strip()


@contextmanager
def engine() -> Iterator[Engine]:
    program("docker")
    if (running := Engine()).run("version")[0] == 0:
        yield running
        return
    if os.geteuid() != 0:
        missing("no container engine is running, and only root can start one")
    with tempfile.TemporaryDirectory(prefix="todo-engine-") as folder, _own(Path(folder)) as own:
        _make_base(own, Path(folder))
        yield own


@contextmanager
def _own(folder: Path) -> Iterator[Engine]:
    """In its own namespaces, so that no process and no mount outlives `unshare`."""
    host = f"unix://{folder}/socket"
    alone = [program("unshare"), "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    # A shell as process 1, because dockerd does not wait for orphaned processes.
    alone += ["sh", "-c", '"$@"; true', "sh"]
    command = [program("dockerd"), "--host", host, "--iptables=false", "--ip6tables=false", "--bridge=none"]
    for option, name in {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}.items():
        command += [f"--{option}", str(folder / name)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*alone, *command], stdout=log, stderr=log)
    try:
        # The classic builder, because the plugin BuildKit may be missing.
        engine = Engine(("--network=none",), DOCKER_HOST=host, DOCKER_BUILDKIT="0")
        deadline = time.monotonic() + 60
        while engine.run("version")[0]:
            if process.poll() is not None or time.monotonic() > deadline:
                missing(f"dockerd does not start: {(folder / 'log').read_text()[-1000:]}")
            time.sleep(0.2)
        yield engine
    finally:
        process.kill()  # unshare ignores SIGTERM
        process.wait(timeout=30)


def _make_base(own: Engine, folder: Path) -> None:
    name = re.findall(r"^FROM (\S+)$", (PROJECT / "Dockerfile").read_text("utf-8"), re.MULTILINE)[0]
    version = re.findall(r":(3\.\d+)", name)[0]
    own.check("import", _debian(), "debian", seconds=120)
    context = folder / "base"
    wheels = context / "wheels"
    files = [argument for file in REQUIREMENTS for argument in ("--requirement", str(file))]
    download = ["download", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    download += ["--python-version", version, "--dest", str(wheels), *files]
    subprocess.run([sys.executable, "-m", "pip", *download], check=True, capture_output=True, timeout=600)
    (context / "pip.conf").write_text("[global]\nno-index = true\nfind-links = /wheels\n")
    (context / "Dockerfile").write_text(BASE)
    own.check("build", *own.build_options, "--tag", name, context, seconds=300)


def _debian() -> Path:
    """A small Debian with Python and pip, cached because building it takes a minute."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "todo-service"
    archive = cache / f"{DEBIAN}.tar"
    if not archive.exists():
        packages = "--include=python3,python3-pip,ca-certificates"
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="todo-debian-") as name:
            root = Path(name) / "root"
            # In a mount namespace, so that debootstrap's mounts are gone when the folder is removed.
            alone = [program("unshare"), "--mount", "--pid", "--fork", "--kill-child"]
            make = [program("debootstrap"), "--variant=minbase", packages, DEBIAN, str(root)]
            subprocess.run([*alone, *make], check=True, capture_output=True, timeout=900)
            made = shutil.make_archive(str(Path(name) / "made"), "tar", root)
            shutil.move(made, archive)
    return archive
