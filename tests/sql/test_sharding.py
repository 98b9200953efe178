"""Sharding by user, tested on plain PostgreSQL: `tasks` is hash-partitioned by user_id."""

import uuid

import psycopg
import pytest

from service.postgres.queries import SQL
from tests.support.answers import assert_error
from tests.support.api import Api
from tests.support.statements import USES

pytestmark = pytest.mark.anyio

PARTITIONED = """
    alter table tasks rename to tasks_before;
    alter table tasks_before drop constraint tasks_user_id_fkey;
    create table tasks (like tasks_before including all) partition by hash (user_id);
    alter table tasks add constraint tasks_user_id_fkey foreign key (user_id) references users (id) on delete cascade;
    create table tasks_0 partition of tasks for values with (modulus 2, remainder 0);
    create table tasks_1 partition of tasks for values with (modulus 2, remainder 1);
    drop table tasks_before;
"""


@pytest.fixture(autouse=True)
def partitioned(owner: psycopg.Connection) -> None:
    owner.execute(PARTITIONED)


async def test_every_call_works_on_partitions(api: Api, owner: psycopg.Connection) -> None:
    users = [api.user() for _ in range(8)]
    for user in users:
        first, second = [(await api.create_task(user, title=title)).json()["task"] for title in ("One", "Two")]
        changed = await api.update_task(user, first["id"], completed=True, description=None)
        assert changed.json()["task"] == {
            **first,
            "completed": True,
            "updated_at": changed.json()["task"]["updated_at"],
        }
        assert (await api.get_task(user, first["id"])).json() == changed.json()
        assert (await api.list_tasks(user)).json()["tasks"] == [second, changed.json()["task"]]
        for stranger in set(users) - {user}:
            assert_error(await api.get_task(stranger, first["id"]), 404, "Task not found")
            assert_error(await api.delete_task(stranger, first["id"]), 404, "Task not found")
        assert (await api.delete_task(user, second["id"])).status_code == 204
    filled = owner.execute("select count(distinct tableoid) from tasks").fetchone()
    assert filled == (2,)


async def test_constraint_violations_have_the_same_answers_on_partitions(api: Api, owner: psycopg.Connection) -> None:
    gone = api.user()
    owner.execute("delete from users")
    assert_error(await api.create_task(gone), 401, "Unauthorized")


async def test_a_retried_create_finds_its_row_on_partitions(api: Api, owner: psycopg.Connection) -> None:
    user = uuid.UUID(api.user().id)
    cursor, values = psycopg.RawCursor(owner), [user, *USES["create_task"].values[1:]]
    sent = [cursor.execute(SQL.create_task.sql.encode(), values).fetchone() for _ in range(2)]
    assert sent[0] is not None and sent[0] == sent[1]


def test_every_unique_key_of_tasks_contains_the_user(owner: psycopg.Connection) -> None:
    keys = owner.execute("""
        select array_agg(attname order by attname)
        from pg_index join pg_attribute on attrelid = indrelid and attnum = any(indkey)
        where indisunique and indrelid = 'tasks'::regclass group by indexrelid
    """).fetchall()
    assert keys and all("user_id" in columns for (columns,) in keys)
