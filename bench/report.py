"""Progress, results, and a description of the machine."""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from bench import pythons
from bench.calls import CALLS
from bench.contestants import Contestant
from bench.database import ROOT, Database
from bench.load import Measured
from bench.plot import bars
from service.postgres.pool import POOL_SIZE

ALONE = "PostgreSQL alone (pgbench)"
Limits = Mapping[str, Sequence[float]]
"""call -> statements per second in each round."""
Results = Mapping[tuple[str, str], Sequence[Measured]]
"""(contestant, call) -> one measurement for each round."""


class Progress:
    """A progress bar with the current step and the remaining time; plain lines if stdout is not a terminal."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.done = 0
        self.start = time.monotonic()

    def step(self, doing: str) -> None:
        spent = time.monotonic() - self.start
        left = f"{spent / self.done * (self.steps - self.done) / 60:4.1f} min left" if self.done else ""
        if sys.stderr.isatty():
            bar = "#" * (30 * self.done // self.steps)
            print(f"\r\033[K[{bar:<30}] {doing:<45} {left}", end="", file=sys.stderr, flush=True)
        else:
            print(f"{self.done}/{self.steps} {doing}  {left}", file=sys.stderr, flush=True)
        self.done += 1

    def end(self) -> None:
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def machine(database: Database) -> list[str]:
    """A description of the machine that the figures come from."""
    processor = Path("/proc/cpuinfo").read_text()
    model = next(line.split(":")[1].strip() for line in processor.splitlines() if line.startswith("model name"))
    postgres = subprocess.run([database.programs / "postgres", "--version"], capture_output=True, text=True).stdout
    wrk = subprocess.run(["wrk", "-v"], capture_output=True, text=True).stdout.split(" [")[0]
    shown = ("shared_buffers", "autovacuum")
    return [
        f"{os.cpu_count()} cores ({model}), Linux {platform.release()}",
        f"{pythons.description()}, {postgres.strip()}, {wrk}",
        "PostgreSQL's settings: " + ", ".join(f"{name} {database.settings[name]}" for name in shown),
        f"PostgreSQL's data lies in {database.home.parent}",
    ]


def table(results: Results, limits: Limits, names: Sequence[str]) -> str:
    """The rates of all calls and contestants, and of PostgreSQL alone."""
    lines = ["| call | contestant | requests/s | p50 ms | p99 ms |", "|---|---|---:|---:|---:|"]
    for call in CALLS:
        for name in names:
            runs = results[name, call]
            p50, p99 = median(run.p50 for run in runs), median(run.p99 for run in runs)
            lines.append(f"| {call} | {name} | {median(run.rate for run in runs):,.0f} | {p50:.1f} | {p99:.1f} |")
        lines.append(f"| {call} | {ALONE} | {median(limits[call]):,.0f} | | |")
    return "\n".join(lines)


def ratios(results: Results, limits: Limits, names: Sequence[str]) -> str:
    """The ratio of the service's rate to each other's: the median of the ratios of the rounds."""
    lines = [f"| the service against | {' | '.join(CALLS)} |", "|---|" + "---:|" * len(CALLS)]
    for name in [*names, ALONE]:
        cells = []
        for call in CALLS:
            own = results.get(("service", call), ())
            others = limits[call] if name == ALONE else [run.rate for run in results[name, call]]
            cells += [f"{median(a.rate / b for a, b in zip(own, others, strict=True)):.2f}"] if own else []
        if cells and name != "service":
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def memory(sizes: Mapping[str, Sequence[float]]) -> str:
    """The memory of each contestant's largest process at the end of a round."""
    return "Memory of the largest process: " + ", ".join(
        f"{name} {median(each):.0f} MB" for name, each in sizes.items()
    )


def picture(results: Results, names: Sequence[str]) -> None:
    """Draws the README's plot, from a complete run only."""
    shown = ("list of 20", "create", "update")
    groups = {call: {name: median(run.rate for run in results[name, call]) for name in names} for call in shown}
    bars(ROOT / "specs/bench.svg", "Requests per second, PostgreSQL and wrk on the same cores", groups)


def versions(contestants: Sequence[Contestant], workers: int, connections: int) -> list[str]:
    held = f"{workers} workers with {POOL_SIZE} database connections each, {connections} client connections"
    return [held, *(f"{each.name}: {each.version()}" for each in contestants)]
