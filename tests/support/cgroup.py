"""A memory cgroup, version 1 or 2: the kernel kills its processes when they exceed the limit."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.programs import missing
from tests.support.service_process import ServiceProcess, start_service

VERSION_1 = Path("/sys/fs/cgroup/memory")
VERSION_2 = Path("/sys/fs/cgroup")


@contextmanager
def memory_cgroup(limit: int) -> Iterator[Path]:
    """A group without processes; write a pid into its cgroup.procs."""
    version_1 = (VERSION_1 / "memory.limit_in_bytes").exists()
    folder = (VERSION_1 if version_1 else VERSION_2) / f"todo-{secrets.token_hex(4)}"
    try:
        folder.mkdir()
        (folder / ("memory.limit_in_bytes" if version_1 else "memory.max")).write_text(str(limit))
    except OSError as error:
        with contextlib.suppress(OSError):
            folder.rmdir()
        missing(f"no memory cgroup can be made here: {error}")
    try:
        yield folder
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()


@contextmanager
def started_in(folder: Path) -> Iterator[None]:
    """Processes that are started in this block belong to the group from their start."""
    (folder / "cgroup.procs").write_text(str(os.getpid()))
    try:
        yield
    finally:
        (folder.parent / "cgroup.procs").write_text(str(os.getpid()))


@contextmanager
def start_limited_service(limit: int, database_url: str, **settings: str) -> Iterator[tuple[ServiceProcess, Path]]:
    """The service with a memory limit for all its processes together, and the folder of their cgroup."""
    with memory_cgroup(limit) as group, ExitStack() as stack:
        with started_in(group):
            service = stack.enter_context(start_service(database_url, **settings))
        yield service, group


def peak_bytes(folder: Path) -> int:
    for name in ("memory.max_usage_in_bytes", "memory.peak"):
        with contextlib.suppress(FileNotFoundError):
            return int((folder / name).read_text())
    return 0
