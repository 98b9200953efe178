-- Past one machine: shards by user, on Citus. Applied by hand, by the owner, once, after the migrations:
--   psql "$MIGRATION_DATABASE_URL" -f sql/citus.sql
-- Everything of one user then lives on one node, and every statement of ours names that user first, so each is answered by
-- one node. The log-in looks a user up by e-mail, so users is copied to all nodes; sign-ups (and the first
-- tasks of those who log in elsewhere) write to all of them.

create extension if not exists citus;

select create_reference_table('users');
select create_distributed_table('tasks', 'user_id');
