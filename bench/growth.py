"""`make bench-growth`: the service with growing data, load and time. Prints figures, writes plots to specs/."""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import growth_data, growth_load
from bench.database import Database, server
from bench.load import install_wrk

PARTS: dict[str, Callable[[Database, Path], None]] = {
    "user": growth_data.tasks_per_user,
    "rows": growth_data.rows,
    "big": growth_data.big_answers,
    "workers": growth_load.workers,
    "connections": growth_load.connections,
    "memory": growth_load.memory,
    "start": growth_load.start,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-growth", description=__doc__)
    parser.add_argument("--part", action="append", choices=PARTS, help="leave the others out; may be given again")
    chosen = parser.parse_args().part or list(PARTS)
    install_wrk()
    for number, part in enumerate(chosen, 1):
        print(f"[{number}/{len(chosen)}] {part}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="bench-") as folder, server() as database:
            PARTS[part](database, Path(folder))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nStopped.")
