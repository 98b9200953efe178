"""The ownership checker on made-up statements: it accepts sound ones, and reports leaks and unknown constructs."""

import pytest

from tests.support.ownership import faults

SOUND = {
    "an alias": "select t.id from tasks as t where t.user_id = $1",
    "a quoted name": 'select id from "tasks" where "user_id" = $1',
    "an inner join": "select a.id from tasks a join tasks b on b.id = a.id and b.user_id = $1 and a.user_id = $1",
    "the nullable side": "select a.id from tasks a left join tasks b on b.user_id = $1 where a.user_id = $1",
    "the nullable left": "select a.id from tasks a right join tasks b on a.user_id = $1 where b.user_id = $1",
    "a sub-select": "select id from tasks where user_id = $1 and id in (select id from tasks where user_id = $1)",
    "a source": "select a.id from (select id from tasks where user_id = $1) as a",
    "a cte": "with mine as (select id from tasks where user_id = $1) select id from mine",
    "insert select": "insert into tasks (user_id, id, title) select $1, id, title from tasks where user_id = $1",
    "a limited conflict": "insert into tasks (id, user_id) values ($2, $1) on conflict (id)"
    " do update set title = excluded.title where tasks.user_id = $1",
    "a conflict without effect": "insert into tasks (id, user_id) values ($2, $1) on conflict do nothing",
}
LEAKING = {
    "the outer side of a left join": "select a.id from tasks a left join tasks b on a.user_id = $1 and b.user_id = $1",
    "the outer side of a right join": "select 1 from tasks a right join tasks b on a.user_id = $1 and b.user_id = $1",
    "a full join": "select 1 from tasks a full join tasks b on a.user_id = $1 and b.user_id = $1",
    "a cross join": "select 1 from tasks a cross join tasks b where a.user_id = $1",
    "a list of tables": "select 1 from tasks a, tasks b where b.user_id = $1",
    "no name among several": "select 1 from tasks, (select 1) as b where user_id = $1",
    "a sub-select as a value": "select (select title from tasks) as title from tasks where user_id = $1",
    "a source without": "select a.id from (select id, user_id from tasks) as a where a.user_id = $1",
    "a cte without": "with a as (select id, user_id from tasks) select id from a where user_id = $1",
    "an unlimited conflict": "insert into tasks (id, user_id) values ($2, $1) on conflict (id)"
    " do update set title = excluded.title where excluded.user_id = $1",
}
UNKNOWN = {
    "another schema": "select id from other.tasks where user_id = $1",
    "another table": "select id from notes",
    "the case of a name": 'select id from "Tasks" where user_id = $1',
    "renamed columns": "select 1 from tasks as t (id, user_id) where t.user_id = $1",
    "table": "table tasks",
    "star": "select * from tasks where user_id = $1",
    "union": "select id from tasks where user_id = $1 union select id from tasks",
    "lateral": "select 1 from tasks t, lateral (select t.id) as x where t.user_id = $1",
    "natural join": "select 1 from tasks a natural join tasks b where a.user_id = $1 and b.user_id = $1",
    "a recursive cte": "with recursive a as (select id from tasks where user_id = $1) select id from a",
    "a function that reads": "select query_to_xml('table tasks', true, true, '') as body",
    "a function's namesake": "select other.now() as now",
    "a function as a table": "select 1 from tasks_of_everybody()",
    "a row lock that does not wait": "select id from tasks where user_id = $1 for update skip locked",
    "into": "select id into copy from tasks where user_id = $1",
    "merge": "merge into tasks using tasks as o on true when matched then delete",
    "a session's setting": "set role postgres",
    "a temporary table": "create temp table copy as select 1",
    "listen": "listen tasks",
    "an advisory lock": "select pg_advisory_lock(1) as locked",
    "truncate": "truncate tasks",
    "copy": "copy tasks to stdout",
    "two statements": "select 1; select 1",
    "a copy of the old row": "update tasks set title = '' where user_id = $1 returning with (old as o) o.id",
    "a window": "select count(id) over () as count from tasks where user_id = $1",
    "a cast of the owner": "select id from tasks where user_id = $1::uuid",
    "a cursor": "delete from tasks where current of mine",
    "no target list": "insert into tasks values ($1, $2)",
    "no values": "insert into tasks default values",
    "a target's part": "update tasks set title[1] = 'x' where user_id = $1",
    "writing to a cte": "with a as (select 1) delete from a",
}


@pytest.mark.parametrize("sql", SOUND.values(), ids=list(SOUND))
def test_a_sound_statement_passes(sql: str) -> None:
    assert faults(sql, {"tasks"}) == []


@pytest.mark.parametrize("sql", LEAKING.values(), ids=list(LEAKING))
def test_a_statement_that_reads_other_users_rows_is_reported(sql: str) -> None:
    assert any("limited to the owner" in fault for fault in faults(sql, {"tasks"}))


@pytest.mark.parametrize("sql", UNKNOWN.values(), ids=list(UNKNOWN))
def test_an_unknown_construct_is_reported(sql: str) -> None:
    assert faults(sql, {"tasks"})


def test_the_statements_on_users_never_touch_tasks() -> None:
    for sql in ("select id from tasks where user_id = $1", "delete from users using tasks where users.id = $1"):
        assert "the table tasks is not for this file" in faults(sql, {"users"})
