-- Every statement on tasks. $1 is the owner, always, and the owner predicate stands inside the statement itself:
-- no row is read, changed or deleted but the owner's, and zero rows is the answer 404.
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
-- One task of the owner's.
select
    '{"task":' || task_json(id, title, description, completed, user_id, created_at, updated_at) || '}' as body
from tasks
where user_id = $1 and id = $2;

-- name: create_task
-- A new task for the owner. The id ($2) comes from the service, random or derived from the request's Idempotency-Key. A row
-- that has it already was made by the first sending of this statement, or by an earlier request with the key: it is
-- returned as it is now, or null where its fingerprint ($5, null without a key) is of another title or description.
with written as (
    insert into tasks (user_id, id, title, description, fingerprint)
    values ($1, $2, $3, $4, $5)
    on conflict (user_id, id) do update set title = tasks.title
    returning id, title, description, completed, user_id, created_at, updated_at, fingerprint
)
select
    case
        when fingerprint is not distinct from $5 then
            '{"task":' || task_json(id, title, description, completed, user_id, created_at, updated_at) || '}'
    end as body
from written;

-- name: create_task_within_limit
-- The same, if the owner has fewer tasks than the limit ($6; 0 is none, and nothing is counted) or has this one already; else
-- no row. For an owner who logs in elsewhere ($7) the first task makes the owner's row too, without an e-mail, so that nobody
-- logs in to it here; the foreign key is checked when the whole statement is done. `held` is about how many tasks the owner
-- has. It is counted once more for that, because Citus sends a WITH that is used twice to all nodes.
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
-- The time moves forward even if the clock does not; at time zone keeps the addition immutable, which shards insist on.
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
-- Deletes one task of the owner's; the row says that there was one.
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
