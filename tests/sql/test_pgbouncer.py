"""The service with PgBouncer in transaction mode: the black-box tests, and failures that only a pooler can cause."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest

from tests.support.api import serve, settings
from tests.support.commands import PROJECT
from tests.support.databases import Template
from tests.support.outages import TERMINATE
from tests.support.pgbouncer import pgbouncer
from tests.support.programs import program

pytestmark = pytest.mark.anyio

BLACK_BOX = [
    "api/test_accounts",
    "api/test_isolation",
    "api/test_tasks",
    "api/test_updates",
    "auth/test_login_limits",
]


@pytest.fixture(scope="module")
def pooled(template: Template) -> Iterator[Template]:
    with pgbouncer(template.server, template.role, template.password) as address:
        yield template._replace(pooler=address)


@pytest.fixture
def pooled_url(pooled: Template, database_name: str) -> str:
    return pooled.service_url(database_name)


@pytest.mark.timeout(400)  # 83 tests, beside the rest of the suite
def test_the_black_box_tests_pass_through_pgbouncer(server: str) -> None:
    """`TEST_THROUGH=pgbouncer make test` runs all tests through PgBouncer, but takes longer."""
    program("pgbouncer")
    tests = [f"tests/{name}.py" for name in BLACK_BOX]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "TEST_THROUGH": "pgbouncer", "TEST_DATABASE_URL": server}
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout and " skipped" not in done.stdout, done.stdout


async def test_many_users_share_few_connections(pooled_url: str, owner: psycopg.Connection) -> None:
    async with serve(settings(pooled_url), owner) as api:
        users = [api.user() for _ in range(40)]

        async def work(number: int) -> None:
            user = users[number]
            task = await api.task(user, title=f"Of {number}")
            await api.update_task(user, task["id"], description=f"Words of {number}")
            assert (await api.get_task(user, task["id"])).json()["task"]["description"] == f"Words of {number}"
            tasks = (await api.list_tasks(user)).json()["tasks"]
            assert [(task["title"], task["user_id"]) for task in tasks] == [(f"Of {number}", user.id)]
            assert (await api.delete_task(user, task["id"])).status_code == 204

        await asyncio.gather(*(work(number) for number in range(len(users))))
        backends = owner.execute("select count(*) from pg_stat_activity where datname = current_database()").fetchone()
        assert backends == (3,)  # two of PgBouncer and the owner's


async def test_connections_lost_behind_pgbouncer_do_not_affect_the_client(
    pooled_url: str, owner: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(settings(pooled_url), owner) as api:
        user = api.user()
        created = 0
        for _ in range(20):
            calls = [asyncio.ensure_future(api.create_task(user)) for _ in range(10)]
            await asyncio.sleep(0.005)
            owner.execute(TERMINATE)
            answers = await asyncio.gather(*calls)
            assert {answer.status_code for answer in answers} == {201}
            created += len(answers)
        assert len((await api.list_tasks(user)).json()["tasks"]) == created
    assert "connection lost under create_task" in caplog.text


async def test_without_the_pgbouncer_parameter_health_is_503(pooled_url: str, owner: psycopg.Connection) -> None:
    """PgBouncer refuses prepared statements here, so the tests above show that the parameter has an effect."""
    async with serve(settings(pooled_url.replace("pgbouncer=true", "pgbouncer=false")), owner) as api:
        assert (await api.get("/health")).status_code == 503
