"""`python -m service …` and uvicorn as processes, in an environment that holds only what a test gives."""

import os
import subprocess
import sys
from pathlib import Path

from service.config import Settings

PROJECT = Path(__file__).parents[2]


def environment(**values: str) -> dict[str, str]:
    """The tests' own environment without any setting of the service or of libpq, and `values`."""
    settings = {name.upper() for name in Settings.model_fields}
    rest = {name: value for name, value in os.environ.items() if name not in settings and not name.startswith("PG")}
    return {**rest, "PYTHONPATH": str(PROJECT), **values}


def start(folder: Path, *arguments: str, **values: str) -> subprocess.Popen[str]:
    """Starts `python -m <arguments>` in `folder`, where a .env file would be read."""
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env=environment(**values),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], seconds: float = 60) -> tuple[int, str, str]:
    """Exit status, stdout and stderr; a process that does not end is killed."""
    try:
        output, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return process.returncode, output, errors


def run(folder: Path, *arguments: str, **values: str) -> tuple[int, str, str]:
    return finish(start(folder, *arguments, **values))
