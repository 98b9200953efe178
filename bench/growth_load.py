"""Growing load: workers, connections, requests since the start; and the duration of the start."""

import os
import time
from pathlib import Path
from statistics import median

from bench.calls import CALLS, READERS, Calls
from bench.contestants import SERVICE
from bench.database import Database
from bench.growth_data import CONNECTIONS, ROUNDS, SECONDS, SPECS, WORKERS, lists, middle, targets
from bench.load import Measured, drive
from bench.plot import curves
from bench.process import running

STEP, STEPS = 50_000, 10


def workers(database: Database, folder: Path) -> None:
    database.run("fill.sql", **vars(READERS))
    database.settle()
    asked = targets(READERS, folder / "targets")
    counts: dict[int, list[Measured]] = {1: [], 2: [], 4: []}
    for _ in range(ROUNDS):
        for count, runs in counts.items():
            with running(SERVICE, database, count) as process:
                runs.append(lists(process.port, asked, CONNECTIONS))
    found = {count: middle(runs) for count, runs in counts.items()}
    for count, one in found.items():
        print(f"{count} workers: {one.rate:,.0f} lists/s, p50 {one.p50:.1f} ms, p99 {one.p99:.1f} ms")
    title = f"Throughput against workers ({os.cpu_count()} cores, shared with PostgreSQL and wrk)"
    series = {"lists": [(count, one.rate) for count, one in found.items()]}
    curves(SPECS / "growth-workers.svg", title, "workers", "lists of 20 per second", series, logarithmic="")


def connections(database: Database, folder: Path) -> None:
    database.run("fill.sql", **vars(READERS))
    database.settle()
    rates, high = [], []
    with running(SERVICE, database, WORKERS) as process:
        asked = targets(READERS, folder / "targets")
        drive(process.port, "GET", asked, CONNECTIONS, SECONDS)
        for count in (1, 2, 4, 8, 16, 32, 64, 100, 256, 512):
            one = drive(process.port, "GET", asked, count, SECONDS)
            failed = f"{one.refused} refused, {one.broken} broken"
            print(
                f"{count:>4} connections: {one.rate:,.0f} lists/s, p50 {one.p50:.1f} ms, p99 {one.p99:.1f} ms, {failed}"
            )
            rates.append((count, one.rate))
            high.append((count, one.p99))
    file = SPECS / "growth-connections.svg"
    curves(
        file, "Throughput against connections (2 workers)", "connections", "lists of 20 per second", {"lists": rates}
    )
    file = SPECS / "growth-connections-p99.svg"
    curves(file, "Latency against connections (2 workers)", "connections", "p99, ms", {"p99": high}, logarithmic="xy")


def memory(database: Database, folder: Path) -> None:
    """Sends all calls in turn until half a million requests are answered."""
    calls = Calls(database, folder)
    served, points = 0, []
    with running(SERVICE, database, WORKERS) as process:
        for step in range(STEPS + 1):
            while served < step * STEP + 1:
                for call in CALLS:
                    served += calls.measure(call, process.port, CONNECTIONS, seconds=1).requests
            sizes = [resident(pid) for pid in worker_pids(process.pid)]
            print(f"{served:>8,} requests: " + ", ".join(f"{size:.1f} MB" for size in sizes))
            points.append((served, max(sizes)))
    curves(
        SPECS / "growth-memory.svg",
        "The largest worker's memory",
        "requests served",
        "resident memory, MB",
        {"resident": points},
        logarithmic="",
    )


def worker_pids(parent: int) -> list[int]:
    """The worker processes of `parent`, which uvicorn starts with multiprocessing's spawn."""
    children = [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    return [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def resident(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def start(database: Database, folder: Path) -> None:
    for count in (1, WORKERS):
        times = []
        for _ in range(5):
            began = time.monotonic()
            with running(SERVICE, database, count):
                times.append(time.monotonic() - began)
        print(f"{count} workers: {median(times):.2f} s from the start to the first answer (median of 5)")
