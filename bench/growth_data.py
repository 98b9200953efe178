"""Growing data: tasks per user, rows in the table, and the effect of a very long list on other requests."""

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from bench.calls import READERS, Users
from bench.contestants import SERVICE
from bench.database import ROOT, Database
from bench.load import Measured, Wrong, drive, write_targets
from bench.plot import curves
from bench.process import running

SPECS = ROOT / "specs"
WORKERS, CONNECTIONS = 2, 32
ROUNDS, SECONDS = 3, 5
ACTIVE_USERS = 2_000  # users who send requests: the data grows, the traffic does not


def targets(users: Users, file: Path) -> Path:
    chosen = random.Random(4).sample(users.ids, min(users.users, ACTIVE_USERS))
    return write_targets(file, ((user, "/api/tasks") for user in chosen))


def lists(port: int, asked: Path, connections: int) -> Measured:
    """Measures lists, after a warm-up with the same users."""
    drive(port, "GET", asked, connections, SECONDS)
    measured = drive(port, "GET", asked, connections, SECONDS)
    if measured.refused or measured.broken:
        raise Wrong(str(measured))
    return measured


def middle(runs: list[Measured]) -> Measured:
    """The run with the median latency."""
    return sorted(runs, key=lambda run: run.p50)[len(runs) // 2]


def tasks_per_user(database: Database, folder: Path) -> None:
    sizes: dict[int, list[Measured]] = {10: [], 100: [], 1_000: [], 10_000: []}
    asked = {}
    for number, tasks in enumerate(sizes):
        users = Users(first=1 + number * 10_000, users=max(4, 20_000 // tasks), tasks=tasks)
        database.run("fill.sql", **vars(users))
        asked[tasks] = targets(users, folder / str(tasks))
    database.settle()
    with running(SERVICE, database, WORKERS) as process:
        for _ in range(ROUNDS):
            for tasks, runs in sizes.items():
                runs.append(lists(process.port, asked[tasks], connections=1))
    found = {tasks: middle(runs) for tasks, runs in sizes.items()}
    for tasks, one in found.items():
        print(f"{tasks:>6} tasks per user: p50 {one.p50:.2f} ms, p99 {one.p99:.2f} ms, {one.rate:,.0f} lists/s")
    title = "The list against the length of the list (one client)"
    series = {name: [(tasks, getattr(one, name)) for tasks, one in found.items()] for name in ("p50", "p99")}
    curves(SPECS / "growth-tasks-per-user.svg", title, "tasks of the user", "ms", series, logarithmic="xy")


def rows(database: Database, folder: Path) -> None:
    """Fills a database for each size first, so that the rounds can alternate between them."""
    sizes: dict[int, Database] = {}
    asked = {}
    for total in (40_000, 400_000, 4_000_000, 10_000_000):
        users = replace(READERS, users=total // READERS.tasks)
        sizes[total] = database.another(f"rows_{total}")
        sizes[total].run("fill.sql", **vars(users))
        sizes[total].settle()
        asked[total] = targets(users, folder / str(total))
    many: dict[int, list[Measured]] = {total: [] for total in sizes}
    alone: dict[int, list[Measured]] = {total: [] for total in sizes}
    for _ in range(ROUNDS):
        for total, filled in sizes.items():
            with running(SERVICE, filled, WORKERS) as process:
                many[total].append(lists(process.port, asked[total], CONNECTIONS))
                alone[total].append(lists(process.port, asked[total], connections=1))
    series = {}
    for name, found in ((f"{CONNECTIONS} connections", many), ("one client", alone)):
        series[name] = [(total, middle(runs).p50) for total, runs in found.items()]
        for total, p50 in series[name]:
            print(f"{total:>10,} rows, {name}: p50 {p50:.2f} ms, {p50 / series[name][0][1]:.2f} times the first")
    print(
        f"shared_buffers {database.settings['shared_buffers']}; {ACTIVE_USERS:,} users ask, rows of users interleaved"
    )
    curves(SPECS / "growth-rows.svg", "The list of 20 against the size of the table", "rows", "p50, ms", series)


def big_answers(database: Database, folder: Path) -> None:
    giant = Users(first=100_001, users=1, tasks=10_000)
    for users in (READERS, giant):
        database.run("fill.sql", **vars(users))
    database.settle()
    asked = targets(READERS, folder / "small")
    large = write_targets(folder / "large", [(giant.ids[0], "/api/tasks")])
    alone, disturbed, rates = [], [], []
    with running(SERVICE, database, WORKERS) as process, ThreadPoolExecutor() as threads:
        for _ in range(ROUNDS):
            alone.append(lists(process.port, asked, CONNECTIONS))
            beside = threads.submit(drive, process.port, "GET", large, 1, 2 * SECONDS + 1)
            disturbed.append(lists(process.port, asked, CONNECTIONS))
            rates.append(beside.result().rate)
    before, after = middle(alone), middle(disturbed)
    print(f"lists of 20, {CONNECTIONS} connections: p50 {before.p50:.1f} ms, p99 {before.p99:.1f} ms;")
    print(f"beside a client that lists 10,000 ({max(rates):.0f}/s): p50 {after.p50:.1f} ms, p99 {after.p99:.1f} ms")
