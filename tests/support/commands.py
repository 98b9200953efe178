"""`python -m …` as a process, in an environment with the settings of the test only."""

import os
import subprocess
import sys
from pathlib import Path

from service.config import Settings

PROJECT = Path(__file__).parents[2]


def is_setting(name: str) -> bool:
    """Whether the service or libpq would read this variable."""
    return name.lower() in Settings.model_fields or name.startswith("PG")


def environment(**values: str) -> dict[str, str]:
    """The environment without settings of the service and of libpq, plus `values`; PORT=0 chooses a free port."""
    rest = {name: value for name, value in os.environ.items() if not is_setting(name)}
    return {**rest, "PYTHONPATH": str(PROJECT), "PORT": "0", **values}


def start(folder: Path, *arguments: str, **values: str) -> subprocess.Popen[str]:
    """Starts `python -m <arguments>` in `folder`, where a .env file would be read."""
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env=environment(**values),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], seconds: float = 60, sent: str = "") -> tuple[int, str, str]:
    """Exit status, stdout and stderr; a process that does not end is killed."""
    try:
        output, errors = process.communicate(sent, timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return process.returncode, output, errors


def run(folder: Path, *arguments: str, **values: str) -> tuple[int, str, str]:
    return finish(start(folder, *arguments, **values))
