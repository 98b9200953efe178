-- The count of log-ins that have not succeeded. $1 is the key of an account at one client address, $2 that of the address.

-- name: count_attempt :one
-- Counts an attempt before its password is looked at, so that a hundred at once are a hundred; returns the seconds to wait
-- where one of the two counts is now over its limit ($3, $4), else null. Sent twice, it counts twice: no harm.
with counted as (
    insert into login_attempts as known (key, attempts, expires_at)
    values ($1, 1, now() + make_interval(secs => $5)), ($2, 1, now() + make_interval(secs => $5))
    on conflict (key) do update set
        attempts = case when known.expires_at > now() then known.attempts + 1 else 1 end,
        expires_at = case when known.expires_at > now() then known.expires_at else excluded.expires_at end
    returning key, attempts, expires_at
)
select ceil(extract(epoch from max(expires_at) - now()))::integer as wait_seconds
from counted
where attempts > case when key = $1 then $3::integer else $4::integer end;

-- name: clear_attempts :one
-- After a success: forgets the account's count, takes the attempt off the address's, and sweeps some of what has expired.
with swept as (
    delete from login_attempts
    where key = $1 or key in (
        select key from login_attempts where expires_at < now() order by expires_at limit 100
    )
)
update login_attempts
set attempts = attempts - 1
where key = $2 and attempts > 0
returning attempts;
