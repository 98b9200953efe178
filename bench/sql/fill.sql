-- $users accounts with $tasks tasks each, named from "user $first" on. A user's id follows from its number, and a task's from
-- both numbers, so that the harness and pgbench can name them; the tasks go in one per user in turn, so that a user's rows lie
-- far apart, as in life.
with people as (
    insert into users (id, email, password_hash)
    select md5('user ' || n)::uuid, 'user' || n || '@example.com',
        '$2b$12$abcdefghijklmnopqrstuuAbCdEfGhIjKlMnOpQrStUvWxYz0123a'
    from generate_series(%(first)s::bigint, %(first)s + %(users)s - 1) as n
)
insert into tasks (user_id, id, title, description, created_at, updated_at)
select md5('user ' || n)::uuid, md5('task ' || n || ' ' || task)::uuid,
    'Task number ' || task, 'What there is to be done, in a few more words',
    now() - task * interval '1 hour', now() - task * interval '1 hour'
from generate_series(%(tasks)s, 1, -1) as task
    cross join generate_series(%(first)s::bigint, %(first)s + %(users)s - 1) as n
order by task desc
