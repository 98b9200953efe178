-- The wire form of a task, defined here and nowhere else. The answer's bytes are built by PostgreSQL and sent as they are.
--
-- A function of plain columns, so that it is inlined into every statement and works on a sharded table too. Concatenation
-- on purpose: measured with pgbench on a list of 20, it answers 1.45 times as often as json_build_object with json_agg.
-- What can hold a quote or a backslash goes through to_json; ids, booleans and times cannot.
-- Changing the form: only add, in a migration of its own; an old instance goes on sending what this function returns.

set local lock_timeout = '3s';

create or replace function task_json(
    id uuid,
    title text,
    description text,
    completed boolean,
    user_id uuid,
    created_at timestamptz,
    updated_at timestamptz
) returns text language sql stable as $$
    select '{"id":"' || id::text
        || '","title":' || to_json(title)::text
        || ',"description":' || coalesce(to_json(description)::text, 'null')
        || ',"completed":' || completed::text
        || ',"user_id":"' || user_id::text
        || '","created_at":"' || to_char(created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        || '","updated_at":"' || to_char(updated_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        || '"}'
$$;
