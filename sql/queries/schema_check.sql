-- name: applied_migrations
-- The names of the migrations that this database has.
select array_agg(migration_id) as names
from _yoyo_migration;
