"""The development database in a DATA_DIR: its server's pid, copies of it, and a server that was left running."""

import subprocess
import sys
from pathlib import Path

from tests.support.commands import PROJECT

START = "import pathlib, sys, embedded.postgres as e; e.Embedded(pathlib.Path(sys.argv[1]), print).start()"


def pid_file(data_dir: Path) -> Path:
    return data_dir / "postgres/data/postmaster.pid"


def postmaster_pid(data_dir: Path) -> int:
    return int(pid_file(data_dir).read_text().split()[0])


def copy_data_dir(data_dir: Path, target: Path) -> Path:
    """Copies the owners of the files too, because PostgreSQL checks them."""
    subprocess.run(["cp", "-a", data_dir, target], check=True)
    return target


def leave_server_running(data_dir: Path) -> None:
    """Starts the server from a process that ends without stopping it, as a killed service does."""
    subprocess.run([sys.executable, "-c", START, data_dir], check=True, cwd=PROJECT)
