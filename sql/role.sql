-- The service's role: it reads and writes rows, and can neither change the schema nor empty a table. The owner of the tables
-- runs this once, after the first `make migrate`: psql "$MIGRATION_DATABASE_URL" -f sql/role.sql
-- and then gives the role a password with \password todo_service. Running it again does no harm.

do $$
begin
    -- Below max_connections (100), so that the owner can always connect. More instances need more of both.
    create role todo_service login connection limit 80;
exception
    when duplicate_object or unique_violation then null;
end
$$;

-- PostgreSQL's log then quotes no row: a failed check would put a password hash there. Only a superuser may set this.
do $$
begin
    alter role todo_service set log_error_verbosity = 'terse';
exception
    when insufficient_privilege then null;
end
$$;

-- Before PostgreSQL 15, all roles may create tables in this schema.
revoke create on schema public from public;
grant usage on schema public to todo_service;

-- The role creates and reads accounts. It cannot change an e-mail or a password hash, and it cannot delete an account.
grant select, insert on users to todo_service;
-- Until 1.0.0 this file granted update (email); a table that Citus makes anew gets the default privileges below.
revoke update, delete on users from todo_service;

-- Whole tables rather than columns: a migration that adds a column needs no grant before the new code may use it.
grant select, insert, update, delete on tasks to todo_service;

-- The counts of failed log-ins.
grant select, insert, update, delete on login_attempts to todo_service;

-- The cutoffs of tokens: only the owner writes them. The default privileges below have granted more.
revoke insert, update, delete on token_cutoffs from todo_service;
grant select on token_cutoffs to todo_service;

-- The applied migrations, which the service checks at its start.
grant select on _yoyo_migration to todo_service;

-- The tables that the owner's later migrations add.
alter default privileges in schema public grant select, insert, update, delete on tables to todo_service;
