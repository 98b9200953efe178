"""Checks that the model test finds faults: plants one at a time into a copy of the service; the test must then fail.

`python -m tests.support.planted_faults` prints the number of steps until each fault was found, and exits with 1 if one
was not found. Without a fault the test must pass.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.faults import FAULTS, Edit

PROJECT = Path(__file__).parents[2]
COPIED = ("embedded", "service", "sql", "tests", "tools")
AGREED = re.compile(r"model test: (\d+) steps; no difference")
DIFFERED = re.compile(r"the first difference after (\d+): (.*)")


def main() -> int:
    missed = [name for name in FAULTS if not _as_expected(name)]
    print(f"{len(FAULTS) - 1} faults planted, not as expected: {', '.join(missed) or 'none'}")
    return 1 if missed else 0


def _as_expected(name: str) -> bool:
    with tempfile.TemporaryDirectory(prefix="todo-fault-") as folder:
        copy = Path(folder)
        shutil.copy(PROJECT / "pyproject.toml", copy)
        for part in COPIED:
            shutil.copytree(PROJECT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        for edit in FAULTS[name]:
            _plant(copy, edit)
        status, output = _model_test(copy)
    if status == 0 and (agreed := AGREED.search(output)):
        print(f"{name:45} not found in {agreed[1]} steps", flush=True)
        return name == "nothing"
    if status and (differed := DIFFERED.search(output)):
        print(f"{name:45} found after {differed[1]:>4} steps: {differed[2][:100]}", flush=True)
        return name != "nothing"
    print(f"{name:45} the test itself did not work:\n{output[-3000:]}", flush=True)
    return False


def _plant(copy: Path, edit: Edit) -> None:
    path = copy / edit.file
    before, start, rest = path.read_text("utf-8").partition(edit.start)
    if edit.old not in rest:
        raise SystemExit(
            f"{edit.file} has no {edit.old!r} after {edit.start!r} any more: change tests/support/faults.py"
        )
    path.write_text(before + start + rest.replace(edit.old, edit.new, 1), "utf-8")


def _model_test(copy: Path) -> tuple[int, str]:
    environment = {name: value for name, value in os.environ.items() if name != "MODEL_STEPS"}
    command = [sys.executable, "-m", "pytest", "tests/model/test_model.py", "-s", "-p", "no:cacheprovider"]
    done = subprocess.run(
        command, cwd=copy, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return done.returncode, done.stdout


if __name__ == "__main__":
    sys.exit(main())
