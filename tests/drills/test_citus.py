"""On a Citus cluster made with the commands of specs/scaling.md: every call, isolation, races, limits, migrations."""

import asyncio
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import asyncpg
import httpx
import psycopg
import pytest

from service.postgres.migrations import migrate, rollback
from service.postgres.queries import DIRECTORY, parse
from tests.support.api import BROWSER, Api
from tests.support.citus import COORDINATOR, NODES, WORKERS, Cluster, cluster
from tests.support.commands import PROJECT
from tests.support.service_process import start_service
from tests.support.statements import QUERIES, USES

pytestmark = pytest.mark.anyio

USERS, SHARDS = 400, 32
TASK_STATEMENTS = sorted(parse((DIRECTORY / "tasks.sql").read_text("utf-8")))
# Citus sends now() to a shard as text in the session's DateStyle, so on Citus the database keeps the ISO style.
NOT_ON_CITUS = "tests/api/test_tasks.py::test_times_are_iso_8601_in_utc_ending_in_z"


@pytest.fixture(scope="module")
def citus() -> Iterator[Cluster]:
    with cluster() as started:
        started.shard()
        yield started


def test_citus_sql_reports_a_missing_step() -> None:
    with cluster() as single, single.connect("postgres") as superuser:
        roles, extension, nodes, last = single.steps()
        messages = [single.refusal(last)]
        single.run(roles)
        single.run(extension)
        superuser.execute("create schema other")
        messages.append(single.refusal(last.replace("todo_owner", "postgres")))
        for change, back in BROKEN:
            superuser.execute(change.encode())
            messages.append(single.refusal(last))
            superuser.execute(back.encode())
        for statement in nodes.splitlines()[1:4]:
            messages.append(single.refusal(last))
            superuser.execute(statement.encode())
        messages.append(single.refusal(last))
        for statement in nodes.splitlines()[4:6]:
            superuser.execute(statement.encode())
        single.stop(WORKERS[1])
        messages.append(single.refusal(last))
        single.start(WORKERS[1])
        first, second = single.run(last), single.run(last)
    assert [sentence.split(":")[0] for sentence in messages] == [
        "Citus is missing",
        "The owner of the tables has to run this file.",
        "The tables are missing",
        "The role todo_service is missing",
        "Sign-ups would fail",
        "The coordinator does not know its address",
        "The coordinator does not know its address",
        "There is no worker node, so all shards would be on this one",
        "Not every node reaches every other",
    ]
    assert first == second
    assert "distributed" in first


BROKEN = [
    ("alter table tasks set schema other", "alter table other.tasks set schema public"),
    ("alter role todo_service rename to other", "alter role other rename to todo_service"),
]


def test_the_role_gets_no_more_rights_on_a_shard_than_on_the_table(citus: Cluster) -> None:
    citus.run(f"psql -h {COORDINATOR} -U todo_owner -d todo -v ON_ERROR_STOP=1 -f sql/role.sql")
    for node in NODES:
        with citus.connect("todo_service", node) as role:
            role.execute("set citus.override_table_visibility = off")
            rights = dict(role.execute(RIGHTS).fetchall())
            assert [name for name in rights if name.startswith("users_")]
            assert {tuple(given) for name, given in rights.items() if name.startswith("users")} == {
                ("INSERT", "SELECT")
            }
            for forbidden in ("select * from pg_dist_authinfo", "update users set password_hash = 'x'"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    role.execute(forbidden)


RIGHTS = """
    select relname, array_agg(which order by which)
    from pg_class, unnest(array['DELETE', 'INSERT', 'SELECT', 'TRUNCATE', 'UPDATE']) as which
    where relkind = 'r' and relnamespace = 'public'::regnamespace and has_table_privilege(oid, which)
    group by relname
"""


@pytest.mark.parametrize("node", [COORDINATOR, WORKERS[1]])
def test_the_api_tests_pass_through_every_node(citus: Cluster, node: str) -> None:
    tests = ["tests/api", "tests/auth", "--deselect", NOT_ON_CITUS]
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", *tests]
    # The owner changes tables in some tests, which only the coordinator allows.
    urls = {"TEST_DATABASE_URL": citus.url("todo_owner"), "TEST_SERVICE_URL": citus.url(node=node)}
    environment = {**os.environ, "TEST_THROUGH": "citus", **urls}
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=1500)
    print(f"\n{node}: {done.stdout.splitlines()[-1]}")
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


async def test_none_of_400_users_reaches_another_users_tasks(citus: Cluster) -> None:
    with start_service(citus.url()) as service, citus.connect() as owner:
        async with httpx.AsyncClient(base_url=service.url, headers=BROWSER, timeout=30) as client:
            api = Api(client, owner)
            users = [api.user() for _ in range(USERS)]
            tasks = {user: await api.task(user, title=user.id) for user in users}
            for user, stranger in zip(users, users[1:] + users[:1], strict=True):
                theirs = tasks[stranger]["id"]
                refused = [
                    await api.get_task(user, theirs),
                    await api.update_task(user, theirs, title="stolen"),
                    await api.delete_task(user, theirs),
                ]
                assert {(answer.status_code, answer.text) for answer in refused} == {
                    (404, '{"error": "Task not found"}')
                }
            for user in users:
                assert (await api.list_tasks(user)).json() == {"tasks": [tasks[user]]}
        shards = owner.execute("select count(distinct get_shard_id_for_distribution_column('tasks', id)) from users")
        assert shards.fetchone() == (SHARDS,)


@pytest.mark.parametrize("node", [COORDINATOR, WORKERS[1]])
@pytest.mark.parametrize("name", TASK_STATEMENTS)
async def test_a_statement_on_tasks_goes_to_one_shard(citus: Cluster, name: str, node: str) -> None:
    connection = await asyncpg.connect(citus.url(node=node))
    rows = await connection.fetch("explain " + QUERIES[name].sql, *USES[name].values)
    await connection.close()
    plan = [row[0].strip() for row in rows]
    counts = [line for line in plan if line.startswith("Task Count:")]
    assert counts and set(counts) == {"Task Count: 1"}, plan


async def test_of_concurrent_sign_ups_on_two_nodes_exactly_one_succeeds(citus: Cluster) -> None:
    """The sign-ups go through the coordinator and through a worker node."""
    with (
        start_service(citus.url(), LOGIN_FAILURE_LIMIT="0") as first,
        start_service(citus.url(node=WORKERS[0]), LOGIN_FAILURE_LIMIT="0") as second,
        citus.connect() as owner,
    ):
        async with (
            httpx.AsyncClient(base_url=first.url, timeout=30) as coordinator,
            httpx.AsyncClient(base_url=second.url, timeout=30) as worker,
        ):
            for number in range(20):
                email = f"race-{number}@example.com"
                calls = [Api(client).sign_up(email) for client in (coordinator, worker) for _ in range(2)]
                answers = Counter(answer.status_code for answer in await asyncio.gather(*calls))
                assert answers == {201: 1, 409: 3}
        rows = owner.execute("select count(*), count(distinct email) from users where email like 'race-%'").fetchone()
        assert rows == (20, 20)


async def test_failed_log_ins_are_counted_over_all_nodes(citus: Cluster) -> None:
    with (
        start_service(citus.url(), LOGIN_FAILURE_LIMIT="4") as first,
        start_service(citus.url(node=WORKERS[0]), LOGIN_FAILURE_LIMIT="4") as second,
    ):
        statuses = []
        for number in range(6):
            async with httpx.AsyncClient(base_url=(first, second)[number % 2].url, timeout=30) as client:
                statuses.append((await Api(client).log_in("guessed@example.com", "wrong password")).status_code)
    assert statuses == [401] * 4 + [429] * 2


async def test_migrations_are_rolled_back_and_applied_on_shards(citus: Cluster) -> None:
    """First the newest ones, with rows in the tables; then all of them."""
    last = citus.steps()[-1]
    with citus.connect() as owner, start_service(citus.url()) as service:
        async with httpx.AsyncClient(base_url=service.url, headers=BROWSER, timeout=30) as client:
            api = Api(client, owner)
            user = api.user()
            task = await api.task(user)
        owner.execute("delete from users where email is null")
    url = citus.url("todo_owner")
    while rollback(url) != ["0003.task-json"]:
        pass
    migrate(url)
    citus.run(last)
    with citus.connect() as owner, start_service(citus.url(node=WORKERS[1])) as service:
        async with httpx.AsyncClient(base_url=service.url, headers=BROWSER, timeout=30) as client:
            assert (await Api(client).list_tasks(user)).json() == {"tasks": [task]}
    while rollback(url):
        pass
    migrate(url)
    citus.run(f"psql -h {COORDINATOR} -U todo_owner -d todo -v ON_ERROR_STOP=1 -f sql/role.sql")
    citus.run(last)
    with citus.connect() as owner, start_service(citus.url(node=WORKERS[1])) as service:
        async with httpx.AsyncClient(base_url=service.url, headers=BROWSER, timeout=30) as client:
            api = Api(client, owner)
            user = api.user()
            task = await api.task(user)
            assert (await api.list_tasks(user)).json() == {"tasks": [task]}


async def test_the_steps_back_to_one_postgresql(citus: Cluster) -> None:
    with citus.connect() as owner, start_service(citus.url()) as service:
        async with httpx.AsyncClient(base_url=service.url, headers=BROWSER, timeout=30) as client:
            api = Api(client, owner)
            user = api.user()
            task = await api.task(user)
            owner.execute("select undistribute_table('users', cascade_via_foreign_keys => true)")
            citus.run(f"psql -h {COORDINATOR} -U todo_owner -d todo -v ON_ERROR_STOP=1 -f sql/role.sql")
            assert (await api.list_tasks(user)).json() == {"tasks": [task]}
            assert (await api.update_task(user, task["id"], completed=True)).status_code == 200
    with citus.connect("todo_service") as role:
        rights = dict(role.execute(RIGHTS).fetchall())
    assert rights["users"] == ["INSERT", "SELECT"]
    citus.run(citus.steps()[-1])
