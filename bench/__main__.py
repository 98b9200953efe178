"""`make bench`: this service and its alternatives on the same machine, in alternating rounds."""

import argparse
import os
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

from bench import limit
from bench.calls import CALLS, Calls
from bench.contestants import CONTESTANTS, Contestant
from bench.database import Database, fastest_folder, server
from bench.load import Measured, Wrong, install_wrk
from bench.process import Running, largest, running
from bench.report import Progress, machine, memory, picture, ratios, table, versions

# Before the first round, for each call, and before each measurement. Node compiles hot code during the first: on two
# busy cores its lists became four times as fast in eight seconds.
START_SECONDS, WARM_UP_SECONDS = 3, 1


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


class Bench:
    """All contestants run during the whole benchmark, and those that are not measured are idle. So a call is measured
    for all of them within a minute, and a slow minute of the machine favours none."""

    def __init__(self, contestants: list[Contestant], database: Database, folder: Path, options: argparse.Namespace):
        self.options = options
        self.calls = Calls(database, folder)
        self.results: dict[tuple[str, str], list[Measured]] = defaultdict(list)
        self.limits: dict[str, list[float]] = defaultdict(list)
        self.sizes: dict[str, list[float]] = defaultdict(list)
        self.progress = Progress(len(CALLS) * (len(contestants) + options.rounds * (len(contestants) + 1)))

    def warm_up(self, name: str, process: Running) -> None:
        self.calls.probe(process.port)
        for call in CALLS:
            self.progress.step(f"{name}: {call}, warm-up")
            self.calls.measure(call, process.port, self.options.connections, START_SECONDS)

    def measure(self, call: str, name: str, process: Running) -> None:
        self.progress.step(f"{name}: {call}")
        self.calls.measure(call, process.port, self.options.connections, WARM_UP_SECONDS)
        measured = self.calls.measure(call, process.port, self.options.connections, self.options.seconds)
        self.results[name, call].append(measured)

    def measure_limit(self, call: str) -> None:
        self.progress.step(f"PostgreSQL alone: {call}")
        self.limits[call].append(limit.measure(call, self.calls, self.options.connections, self.options.seconds))

    def end_round(self, name: str, process: Running) -> None:
        self.calls.probe(process.port)
        self.sizes[name].append(largest(process.pid))


def run(bench: Bench, processes: dict[str, Running]) -> None:
    """Raises Wrong after the contestant's name is printed."""
    names = list(processes)
    name = ""
    try:
        for name in names:
            bench.warm_up(name, processes[name])
        for turn in range(bench.options.rounds):
            first = turn % len(names)
            for call in CALLS:
                for name in names[first:] + names[:first]:
                    bench.measure(call, name, processes[name])
                bench.measure_limit(call)
            for name in names:
                bench.end_round(name, processes[name])
    except Wrong as wrong:
        sys.exit(f"\n{name} gave a wrong answer: {wrong}")
    bench.progress.end()


def main() -> None:
    options = arguments()
    install_wrk()
    if (load := os.getloadavg()[0]) > 0.5:
        print(f"Other programs keep this machine busy (load {load:.1f}): the figures will vary.", file=sys.stderr)
    contestants = installed(options.only)
    names = [contestant.name for contestant in contestants]
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))
        database = stack.enter_context(server(fastest_folder()))
        bench = Bench(contestants, database, Path(folder), options)
        run(bench, {each.name: stack.enter_context(running(each, database, options.workers)) for each in contestants})
        results, limits = bench.results, bench.limits
        print(table(results, limits, names), ratios(results, limits, names), memory(bench.sizes), sep="\n\n")
        print(f"\nMedians of {options.rounds} rounds of {options.seconds} s.")
        print(*versions(contestants, options.workers, options.connections), *machine(database), sep="\n")
        print("No answer was wrong.")
    if options.rounds >= 5 and len(contestants) == len(CONTESTANTS):
        picture(results, names)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nStopped.")
