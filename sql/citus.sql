-- Shards tasks by user, on Citus. It is the last step in specs/scaling.md. The owner runs it on
-- the coordinator: psql "$MIGRATION_DATABASE_URL" -f sql/citus.sql
-- If an earlier step is missing, it changes nothing and says which. Run it again after a migration that creates a table;
-- what it has done before stays unchanged.
--
-- tasks has one shard for each part of the users, so everything of one user is on one node, and every statement names the
-- user. users and token_cutoffs are on every node, because each log-in and each new token reads them; a sign-up writes to
-- all nodes. The other tables stay on the coordinator, and the other nodes know where they are.

\set ON_ERROR_STOP on
\set VERBOSITY terse
\set QUIET on
set client_min_messages = error;
begin;
set local lock_timeout = '3s';

do $$
begin
    if not exists (select from pg_extension where extname = 'citus') then
        raise 'Citus is missing: run "create extension citus" as a superuser, in this database and on every worker node.';
    elsif to_regclass('tasks') is null then
        raise 'The tables are missing: run "make migrate" first.';
    elsif not exists (select from pg_tables where tablename = 'tasks' and tableowner = current_user) then
        raise 'The owner of the tables has to run this file.';
    elsif not exists (select from pg_roles where rolname = 'todo_service') then
        raise 'The role todo_service is missing: run sql/role.sql first.';
    elsif not exists (
        select from pg_roles
        where rolname = 'todo_service' and 'citus.skip_advisory_lock_permission_checks=on' = any (rolconfig)
    ) then
        raise 'Sign-ups would fail: set citus.skip_advisory_lock_permission_checks = on for todo_service as a superuser.';
    elsif not exists (select from pg_dist_node where groupid = 0) then
        raise 'The coordinator does not know its address: run citus_set_coordinator_host as a superuser.';
    elsif not exists (select from pg_dist_node where groupid <> 0 and isactive and shouldhaveshards) then
        raise 'There is no worker node, so all shards would be on this one: run citus_add_node as a superuser.';
    elsif exists (select from citus_check_cluster_node_health() where result is not true) then
        raise 'Not every node reaches every other: select * from citus_check_cluster_node_health() shows which.';
    end if;
end
$$;

\o /dev/null
-- By default privileges (sql/role.sql) the role would get all rights on the shards of users that lie on this node.
alter default privileges in schema public revoke select, insert, update, delete on tables from todo_service;

-- Functions come first: Citus refuses them in a transaction that has changed a distributed table.
select create_distributed_function(oid::regprocedure)
from pg_proc
where pronamespace = 'public'::regnamespace and proname = 'task_json';

select create_reference_table(name)
from (values ('users'::regclass), ('token_cutoffs'::regclass)) as copied (name)
where not exists (select from citus_tables where table_name = name);

-- The log-in joins these two tables.
select create_reference_table('token_cutoffs')
where not exists (select from citus_tables where table_name = 'token_cutoffs'::regclass);

select create_distributed_table('tasks', 'user_id')
where not exists (select from citus_tables where table_name = 'tasks'::regclass);

select citus_add_local_table_to_metadata(name)
from (values ('login_attempts'::regclass), ('_yoyo_migration'::regclass)) as coordinators (name)
where not exists (select from citus_tables where table_name = name);

-- The shards now hold all rows, so this deletes the old copies on this node's disk, password hashes included.
select truncate_local_data_after_distributing_table('tasks');
select truncate_local_data_after_distributing_table('users');
select truncate_local_data_after_distributing_table('token_cutoffs');

alter default privileges in schema public grant select, insert, update, delete on tables to todo_service;
\o
commit;

select table_name, citus_table_type, distribution_column, shard_count
from citus_tables
order by table_name::text;
