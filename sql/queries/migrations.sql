-- For `make migrate` only. It closes its connection afterwards, so these statements may change the session.

-- name: limit_lock_waits
-- Limits each wait for a lock in this session.
select set_config('lock_timeout', '60s', false) as lock_timeout;

-- name: lock_migrations
-- Waits for other runs to finish. The lock ends with its session, so a killed run leaves no lock.
select pg_advisory_lock(7301946552) as locked;
