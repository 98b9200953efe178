"""A process that ends what a test run leaves behind, whether the run finishes, is interrupted or is killed.

The whole run uses one temporary folder, and for databases one in memory. The guard's stdin is a pipe that only the run
holds open, so it closes when the run is gone. Then the guard ends every process that works in the temporary folder,
names it in its command, or has it as TMPDIR, with all their children, and removes both folders.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil  # type: ignore[import-untyped]

MEMORY = Path("/dev/shm")
MEMORY_NEEDED = 3 * 2**30
POLITE_SECONDS = 5
SECONDS = 30


def start() -> subprocess.Popen[bytes]:
    """Starts the guard, and makes its folder the temporary folder of this process and its children."""
    folder = tempfile.mkdtemp(prefix="todo-")
    os.chmod(folder, 0o1777)  # as /tmp: some tests start programs as other users
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    command = [sys.executable, __file__, folder]
    return subprocess.Popen(command, cwd="/", env={}, stdin=subprocess.PIPE, start_new_session=True)


def folder_in_memory(folder: Path) -> Path:
    """The second folder of the run with this temporary folder; it need not exist."""
    return MEMORY / folder.name


def folder_for_databases() -> Path:
    """In memory where there is enough of it: to copy a database takes 12 ms there, and up to 370 ms on a disk."""
    folder = Path(tempfile.gettempdir())
    if not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < MEMORY_NEEDED:
        return folder
    in_memory = folder_in_memory(folder)
    in_memory.mkdir(exist_ok=True)
    in_memory.chmod(0o1777)
    return in_memory


def stop(guard: subprocess.Popen[bytes]) -> None:
    """Lets the guard end the remaining processes, and waits for it."""
    assert guard.stdin
    guard.stdin.close()
    guard.wait()


def processes_of(folder: Path) -> set[psutil.Process]:
    """The processes of a run with this temporary folder, as far as they can be recognised."""
    found = set()
    for process in psutil.process_iter(["cwd", "cmdline", "environ"]):
        words = [process.info["cwd"], (process.info["environ"] or {}).get("TMPDIR"), *(process.info["cmdline"] or ())]
        if any(str(folder) in word for word in words if word):
            with contextlib.suppress(psutil.Error):
                found |= {process, *process.children(recursive=True)}
    return found


def end_processes(folder: Path, spared: set[int]) -> None:
    """Sends SIGTERM, so that PostgreSQL frees its shared memory, and SIGKILL to those that do not end."""
    began, known = time.monotonic(), set[psutil.Process]()
    while time.monotonic() < began + SECONDS:
        new = processes_of(folder) - known
        known |= new
        left = {process for process in known if process.pid not in spared and runs(process)}
        if not left:
            return
        for process in left if time.monotonic() > began + POLITE_SECONDS else left & new:
            with contextlib.suppress(psutil.Error):
                process.kill() if time.monotonic() > began + POLITE_SECONDS else process.terminate()
        time.sleep(0.1)


def runs(process: psutil.Process) -> bool:
    """Whether it has not ended; a zombie has."""
    with contextlib.suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


if __name__ == "__main__":
    run, folder = os.getppid(), Path(sys.argv[1])
    sys.stdin.read()
    end_processes(folder, {os.getpid(), run})
    shutil.rmtree(folder_in_memory(folder), ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
