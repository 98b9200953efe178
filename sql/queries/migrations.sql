-- For `make migrate` alone, on a connection of its own that is closed afterwards: session state is welcome here.

-- name: limit_lock_waits
-- No wait for a lock takes longer than this.
select set_config('lock_timeout', '60s', false) as lock_timeout;

-- name: lock_migrations
-- Lets one run at a time in; the lock goes with its session, so a run that is killed leaves none behind.
select pg_advisory_lock(7301946552) as locked;
