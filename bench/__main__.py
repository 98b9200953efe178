"""`make bench`: this service and its alternatives on the same machine, in alternating rounds."""

import argparse
import os
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from bench import limit
from bench.calls import CALLS, Calls
from bench.contestants import CONTESTANTS, Contestant
from bench.database import Database, fastest_folder, server
from bench.load import Measured, Wrong, install_wrk
from bench.process import largest, running
from bench.report import Progress, machine, memory, picture, ratios, table, versions

# Node compiles hot code during the warm-up: on two busy cores its lists became four times as fast in eight seconds.
START_SECONDS, WARM_UP_SECONDS = 8, 2


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="each visits every contestant once (default 5)")
    parser.add_argument("--seconds", type=int, default=4, help="for each call of a round (default 4)")
    parser.add_argument("--connections", type=int, default=32, help="of the load generator (default 32)")
    parser.add_argument("--workers", type=int, default=2, help="processes of each contestant (default 2)")
    names = [contestant.name for contestant in CONTESTANTS]
    parser.add_argument("--only", action="append", choices=names, help="leave the others out; may be given again")
    return parser.parse_args()


def installed(only: list[str] | None) -> list[Contestant]:
    """The contestants, installed; prints the name of one whose runtime is missing, and leaves it out."""
    chosen = []
    for contestant in CONTESTANTS:
        if only and contestant.name not in only:
            continue
        if reason := contestant.missing():
            print(f"{contestant.name} is left out: {reason}.", file=sys.stderr)
            continue
        print(f"Installing {contestant.name}, where that was not done before", file=sys.stderr)
        contestant.install()
        chosen.append(contestant)
    return chosen or sys.exit("Nobody is left to measure.")


def visit(
    contestant: Contestant, database: Database, calls: Calls, options: argparse.Namespace, progress: Progress
) -> tuple[dict[str, Measured], float]:
    """One contestant's part of a round: checks its answers, measures each call after a warm-up, checks again; returns
    also the memory of its largest process."""
    measured = {}
    with running(contestant, database, options.workers) as process:
        calls.probe(process.port)
        progress.step(f"{contestant.name}: warm-up")
        calls.measure(CALLS[0], process.port, options.connections, START_SECONDS)
        for call in CALLS:
            progress.step(f"{contestant.name}: {call}")
            calls.measure(call, process.port, options.connections, WARM_UP_SECONDS)
            measured[call] = calls.measure(call, process.port, options.connections, options.seconds)
        calls.probe(process.port)
        return measured, largest(process.pid)


def main() -> None:
    options = arguments()
    install_wrk()
    if (load := os.getloadavg()[0]) > 0.5:
        print(f"Other programs keep this machine busy (load {load:.1f}): the figures will vary.", file=sys.stderr)
    contestants = installed(options.only)
    results: dict[tuple[str, str], list[Measured]] = defaultdict(list)
    sizes: dict[str, list[float]] = defaultdict(list)
    limits: dict[str, list[float]] = defaultdict(list)
    progress = Progress(options.rounds * (len(contestants) * (1 + len(CALLS)) + len(CALLS)))
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, server(fastest_folder()) as database:
        calls = Calls(database, Path(folder))
        for turn in range(options.rounds):
            first = turn % len(contestants)
            for contestant in contestants[first:] + contestants[:first]:
                try:
                    measured, size = visit(contestant, database, calls, options, progress)
                except Wrong as wrong:
                    sys.exit(f"\n{contestant.name} gave a wrong answer: {wrong}")
                sizes[contestant.name].append(size)
                for call, figures in measured.items():
                    results[contestant.name, call].append(figures)
            for call in CALLS:
                progress.step(f"PostgreSQL alone: {call}")
                limits[call].append(limit.measure(call, calls, options.connections, options.seconds))
        progress.end()
        names = [contestant.name for contestant in contestants]
        print(table(results, limits, names), ratios(results, limits, names), memory(sizes), sep="\n\n", end="\n\n")
        print(f"Medians of {options.rounds} rounds of {options.seconds} s.")
        print(*versions(contestants, options.workers, options.connections), *machine(database), sep="\n")
        print("No answer was wrong.")
    if options.rounds >= 5 and len(contestants) == len(CONTESTANTS):
        picture(results, names)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nStopped.")
