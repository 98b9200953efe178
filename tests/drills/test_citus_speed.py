"""The service on a Citus cluster compared with one PostgreSQL on the same machine: the ratios in scaling.md."""

import shutil
import uuid
from pathlib import Path
from statistics import median

import psycopg
import pytest

from bench.load import SECRET, drive, write_targets
from service.postgres.migrations import migrate
from tests.support.citus import COORDINATOR, WORKERS, Cluster, cluster
from tests.support.service_process import start_service

USERS, TASKS = 200, 20
ROUNDS, SECONDS, CONNECTIONS = 3, 4, 16
FILL = """
    insert into tasks (user_id, id, title, description)
    select id, gen_random_uuid(), 'A title', 'What there is to be done, in a few more words'
    from users, generate_series(1, %s)
"""


def one_postgres(cluster: Cluster) -> str:
    """A second database on the coordinator, without distributed tables."""
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as superuser:
        superuser.execute("create database plain owner todo_owner")
    migrate(cluster.url("todo_owner", database="plain"))
    cluster.run(f"psql -h {COORDINATOR} -U todo_owner -d plain -v ON_ERROR_STOP=1 -f sql/role.sql")
    return "plain"


def test_the_rates_of_list_and_create(tmp_path: Path) -> None:
    if not shutil.which("wrk"):
        pytest.skip("the load generator wrk is not installed")
    users = [uuid.uuid4() for _ in range(USERS)]
    targets = write_targets(tmp_path / "targets", [(user, "/api/tasks") for user in users])
    with cluster() as citus:
        citus.shard()
        plain = one_postgres(citus)
        for database in ("todo", plain):
            with psycopg.connect(citus.url("todo_owner", database=database), autocommit=True) as owner:
                for user in users:
                    owner.execute("insert into users (id) values (%s)", (user,))
                owner.execute(FILL, (TASKS,))
                owner.execute("vacuum analyze tasks")
        places = {
            "one PostgreSQL": citus.url(database=plain),
            "coordinator": citus.url(),
            "worker": citus.url(node=WORKERS[0]),
        }
        rates: dict[tuple[str, str], list[float]] = {}
        for call, method in (("list", "GET"), ("create", "POST")):
            for _ in range(ROUNDS):
                for place, url in places.items():
                    with start_service(url, BETTER_AUTH_SECRET=SECRET) as service:
                        drive(service.port, method, targets, CONNECTIONS, 1)
                        measured = drive(service.port, method, targets, CONNECTIONS, SECONDS)
                    assert not measured.refused and not measured.broken
                    rates.setdefault((call, place), []).append(measured.rate)
        print()
        for call in ("list", "create"):
            alone = median(rates[call, "one PostgreSQL"])
            for place in places:
                rate = median(rates[call, place])
                print(f"{call} through {place}: {rate:,.0f}/s, {rate / alone:.2f}")
