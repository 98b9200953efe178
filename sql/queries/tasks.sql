-- Every statement on tasks. $1 is always the owner, and the statement itself contains the owner predicate: only the
-- owner's rows are read, changed or deleted, and zero rows become the answer 404.
-- Each returns the body of the answer, ready to send, in at most one row.

-- name: list_tasks
-- The owner's tasks, newest first.
select
    '{"tasks":[' || coalesce(
        string_agg(
            task_json(id, title, description, completed, user_id, created_at, updated_at),
            ',' order by created_at desc, id desc
        ),
        ''
    ) || ']}' as body
from tasks
where user_id = $1;

-- name: get_task
-- One of the owner's tasks.
select
    '{"task":' || task_json(id, title, description, completed, user_id, created_at, updated_at) || '}' as body
from tasks
where user_id = $1 and id = $2;

-- name: create_task
-- A new task for the owner, without an Idempotency-Key. If there is a row with this id ($2, random), an earlier attempt of
-- this statement has made it: the row is returned as it is now.
with written as (
    insert into tasks (user_id, id, title, description)
    values ($1, $2, $3, $4)
    on conflict (user_id, id) do update set title = tasks.title
    returning id, title, description, completed, user_id, created_at, updated_at
)
select
    '{"task":' || task_json(id, title, description, completed, user_id, created_at, updated_at) || '}' as body
from written;

-- name: create_task_checked
-- The same with an Idempotency-Key, with a limit on the owner's tasks, or for a user of Better Auth.
-- With a key, the id ($2) is derived from it: an earlier request may have made the row, which is returned as it is now, or
-- null if its fingerprint ($5, null without a key) belongs to another title or description.
-- A new row needs fewer tasks than the limit ($6; 0 is no limit, and nothing is counted); else no row is returned. `held` is
-- the approximate number of the owner's tasks. It is counted a second time, because Citus sends a WITH that is used twice
-- to all nodes.
-- For a user of Better Auth ($7) the first task also inserts the user's row, without an e-mail, so that no log-in finds it;
-- the foreign key is checked at the end of the statement.
with account as (
    insert into users (id)
    select $1
    where $7
    on conflict (id) do nothing
), counted as (
    select count(id) as held
    from (select id from tasks where user_id = $1 limit $6) as own
), written as (
    insert into tasks (user_id, id, title, description, fingerprint)
    select $1, $2, $3, $4, $5
    from counted
    where held < $6 or $6 = 0 or exists (select id from tasks where user_id = $1 and id = $2)
    on conflict (user_id, id) do update set title = tasks.title
    returning id, title, description, completed, user_id, created_at, updated_at, fingerprint
)
select
    case
        when fingerprint is not distinct from $5 then
            '{"task":' || task_json(id, title, description, completed, user_id, created_at, updated_at) || '}'
    end as body,
    (select count(id) from (select id from tasks where user_id = $1 limit $6) as own) as held
from written;

-- name: update_task
-- The fields that were sent: title ($3) and completed ($4) where not null, description ($6) where $5 says that it was sent.
-- updated_at moves forward even if the clock does not; `at time zone` keeps the addition immutable, as Citus requires.
with written as (
    update tasks
    set
        title = coalesce($3, title),
        completed = coalesce($4, completed),
        description = case when $5 then $6 else description end,
        updated_at = greatest(
            now(), (updated_at at time zone 'UTC' + interval '1 microsecond') at time zone 'UTC'
        )
    where user_id = $1 and id = $2
    returning id, title, description, completed, user_id, created_at, updated_at
)
select
    '{"task":' || task_json(id, title, description, completed, user_id, created_at, updated_at) || '}' as body
from written;

-- name: update_task_if_match
-- The same, if the task's version is one of $7; else nothing is changed. The row is locked before its version is compared,
-- so of many at once one succeeds. Sent a second time, the statement recognises its own change by the id $8. `matched`
-- says whether the change was made; the body is the task as it is now.
with present as (
    select id, title, description, completed, user_id, created_at, updated_at, change_id
    from tasks
    where user_id = $1 and id = $2
    for update
), written as (
    update tasks
    set
        title = coalesce($3, tasks.title),
        completed = coalesce($4, tasks.completed),
        description = case when $5 then $6 else tasks.description end,
        updated_at = greatest(
            now(), (tasks.updated_at at time zone 'UTC' + interval '1 microsecond') at time zone 'UTC'
        ),
        change_id = $8
    from present
    where tasks.user_id = $1 and tasks.id = $2 and present.updated_at = any($7)
    returning
        tasks.id, tasks.title, tasks.description, tasks.completed, tasks.user_id, tasks.created_at, tasks.updated_at
)
select
    '{"task":' || coalesce(
        (select task_json(id, title, description, completed, user_id, created_at, updated_at) from written),
        task_json(id, title, description, completed, user_id, created_at, updated_at)
    ) || '}' as body,
    exists (select id from written) or change_id is not distinct from $8 as matched
from present;

-- name: delete_task
-- Deletes one of the owner's tasks; returns a row if there was one.
delete from tasks
where user_id = $1 and id = $2
returning id;

-- name: delete_task_if_match
-- The same, if the task's version is one of $3; else nothing is deleted. `matched` says whether it was; the body is the
-- task as it was or is.
with present as (
    select id, title, description, completed, user_id, created_at, updated_at
    from tasks
    where user_id = $1 and id = $2
    for update
), deleted as (
    delete from tasks
    using present
    where tasks.user_id = $1 and tasks.id = $2 and present.updated_at = any($3)
)
select
    '{"task":' || task_json(id, title, description, completed, user_id, created_at, updated_at) || '}' as body,
    updated_at = any($3) as matched
from present;
