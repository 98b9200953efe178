"""Upgrade from version 1.0 and downgrade under load: no request fails, and no acknowledged change is lost."""

import asyncio
import io
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from service.postgres.migrations import migrate, rollback
from service.postgres.schema import names
from tests.support.commands import PROJECT, run
from tests.support.databases import at, database
from tests.support.instances import Instance
from tests.support.load import load
from tests.support.nginx import nginx
from tests.support.programs import program
from tools.dump_schema import dump

pytestmark = pytest.mark.anyio

VERSION_1_0 = "042fadb11708"
TASKS = 200_000
SECONDS = 3


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of version 1.0, from the git history."""
    folder = tmp_path_factory.mktemp("version-1.0")
    done = subprocess.run(
        [program("git"), "-C", str(PROJECT), "archive", "--format=tar", VERSION_1_0], capture_output=True
    )
    if done.returncode:
        pytest.skip("this clone does not have the history back to version 1.0")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def old_database(server: str, before: Path, tmp_path: Path) -> Iterator[str]:
    """A database that version 1.0 has migrated, with 200,000 tasks."""
    with database(server) as name:
        url = at(server, name)
        secret = "x" * 32
        status, output, errors = run(
            tmp_path, "service", "migrate", DATABASE_URL=url, BETTER_AUTH_SECRET=secret, PYTHONPATH=str(before)
        )
        assert status == 0, output + errors
        with psycopg.connect(url, autocommit=True) as owner:
            owner.execute(
                "insert into users (id, email, password_hash)"
                " select gen_random_uuid(), n || '@example.com', '' from generate_series(1, 2000) n"
            )
            owner.execute(
                "insert into tasks (user_id, id, title)"
                f" select users.id, gen_random_uuid(), 'Task' from users, generate_series(1, {TASKS // 2000})"
            )
            owner.execute("vacuum analyze")
        yield url


def files_of(owner: psycopg.Connection) -> list[tuple[object, ...]]:
    """The files of the tables and indexes. A statement that rewrites a table gives it a new file."""
    return owner.execute(
        "select relname, relfilenode from pg_class"
        " where relname ~ '^(tasks|users)' and relkind in ('r', 'i') order by relname"
    ).fetchall()


async def timed(what: str, act: Callable[[], object]) -> None:
    began = time.monotonic()
    await asyncio.to_thread(act)
    print(f"\n  {what}: {(time.monotonic() - began) * 1000:.0f} ms", end="")
    await asyncio.sleep(SECONDS)


async def test_to_this_version_and_back_under_load(old_database: str, before: Path) -> None:
    instances = [Instance(old_database), Instance(old_database)]
    old = {"PYTHONPATH": str(before)}

    def replace(instance: Instance, **settings: str) -> None:
        instance.stop()
        instance.start(**settings)

    def back() -> None:
        for _ in range(len(names()) - len(names_of(before))):
            rollback(old_database)

    with psycopg.connect(old_database, autocommit=True) as owner:
        schema, files = dump(old_database), files_of(owner)
        try:
            for instance in instances:
                instance.start(**old)
            with nginx(*(instance.port for instance in instances)) as proxy:
                async with load(proxy.url, owner, tls=proxy.tls) as running:
                    await asyncio.sleep(SECONDS)
                    await timed("migrated", lambda: migrate(old_database))
                    assert files_of(owner) == files, "no table was rewritten"
                    for instance in instances:
                        await timed("replaced", lambda instance=instance: replace(instance))  # type: ignore[misc]
                    assert has_tags(instances), "both instances have the new version"
                    for instance in instances:
                        await timed("put back", lambda instance=instance: replace(instance, **old))  # type: ignore[misc]
                    assert not has_tags(instances)
                    await timed("rolled back", back)
        finally:
            for instance in instances:
                instance.remove()
        running.compare(owner)
        running.report("An upgrade and back")
        assert dump(old_database) == schema
        counted = owner.execute("select count(*) from tasks where title = 'Task'").fetchone()
    assert not running.faults
    # On a busy machine a sign-up may be 503, because it waits for bcrypt.
    assert {answer.status for answer in running.answers if answer.path != "/api/auth/signup"} <= {200, 201, 204}
    assert counted == (TASKS,)


def names_of(tree: Path) -> list[str]:
    return [path.stem for path in (tree / "sql/migrations").glob("*.sql") if "rollback" not in path.name]


def has_tags(instances: list[Instance]) -> bool:
    """Whether both instances have this version: their OpenAPI document contains the ETag header."""
    found = {"If-Match" in httpx.get(f"http://127.0.0.1:{instance.port}/openapi.json").text for instance in instances}
    assert len(found) == 1
    return found.pop()


def test_migrations_lock_tasks_for_milliseconds(old_database: str) -> None:
    migrate(old_database)
    with psycopg.connect(old_database) as owner:
        for migration in ("0007.task-versions.rollback.sql", "0007.task-versions.sql"):
            sql = (PROJECT / "sql/migrations" / migration).read_text("utf-8")
            owner.execute("lock table tasks in access exclusive mode")
            began = time.monotonic()
            owner.execute(sql.encode())
            owner.commit()
            seconds = time.monotonic() - began
            print(f"\n  {migration} held its lock on {TASKS:,} tasks for {seconds * 1000:.1f} ms", end="")
            assert seconds < 1
