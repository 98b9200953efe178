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
-- A new task for the owner. The id ($2) is made by the service: sent a second time after a lost connection, the statement
-- finds its own row and returns it.
with written as (
    insert into tasks (user_id, id, title, description)
    values ($1, $2, $3, $4)
    on conflict (user_id, id) do update set title = tasks.title
    returning id, title, description, completed, user_id, created_at, updated_at
)
select
    '{"task":' || task_json(id, title, description, completed, user_id, created_at, updated_at) || '}' as body
from written;

-- name: create_task_and_user
-- A new task for an owner who logs in elsewhere: the first one makes the owner's row too, without an e-mail, so that nobody
-- logs in to it here. The foreign key is checked when the whole statement is done.
with account as (
    insert into users (id)
    values ($1)
    on conflict (id) do nothing
), written as (
    insert into tasks (user_id, id, title, description)
    values ($1, $2, $3, $4)
    on conflict (user_id, id) do update set title = tasks.title
    returning id, title, description, completed, user_id, created_at, updated_at
)
select
    '{"task":' || task_json(id, title, description, completed, user_id, created_at, updated_at) || '}' as body
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

-- name: delete_task
-- Deletes one task of the owner's; the row says that there was one.
delete from tasks
where user_id = $1 and id = $2
returning id;
