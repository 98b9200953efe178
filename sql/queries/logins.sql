-- The count of log-ins that have not succeeded. $1 is the key of an account at one client address, $2 that of the address.
-- Both statements take the account's row before the address's, so that they never wait for each other in a circle.

-- name: count_attempt
-- Counts an attempt before its password is looked at, so that a hundred at once are a hundred; returns the seconds to wait
-- where one of the two counts is now over its limit ($3, $4), else null. What the account's limit stops is none of the
-- address's failures: one stubborn client would lock its whole office out. Sent twice, it counts twice: no harm.
-- Citus takes only immutable expressions in DO UPDATE: excluded.expires_at - $5 stands for now(), and timestamps without
-- a time zone for those with one.
with account as (
    insert into login_attempts as known (key, attempts, expires_at)
    values ($1, 1, now() + make_interval(secs => $5))
    on conflict (key) do update set
        attempts = case
            when known.expires_at at time zone 'UTC' > excluded.expires_at at time zone 'UTC' - make_interval(secs => $5)
            then known.attempts + 1
            else 1
        end,
        expires_at = case
            when known.expires_at at time zone 'UTC' > excluded.expires_at at time zone 'UTC' - make_interval(secs => $5)
            then known.expires_at
            else excluded.expires_at
        end
    returning expires_at, attempts > $3::integer as is_over
), address as (
    insert into login_attempts as known (key, attempts, expires_at)
    select $2, 1, now() + make_interval(secs => $5) from account where not is_over
    on conflict (key) do update set
        attempts = case
            when known.expires_at at time zone 'UTC' > excluded.expires_at at time zone 'UTC' - make_interval(secs => $5)
            then known.attempts + 1
            else 1
        end,
        expires_at = case
            when known.expires_at at time zone 'UTC' > excluded.expires_at at time zone 'UTC' - make_interval(secs => $5)
            then known.expires_at
            else excluded.expires_at
        end
    returning expires_at, attempts > $4::integer as is_over
)
select
    ceil(extract(epoch from greatest(
        case when account.is_over then account.expires_at end,
        case when address.is_over then address.expires_at end
    ) - now()))::integer as wait_seconds
from account
left join address on true;

-- name: take_back_attempt
-- Uncounts an attempt of an account whose password was never looked at.
update login_attempts
set attempts = attempts - 1
where key = $1 and attempts > 0
returning attempts;

-- name: clear_attempts
-- After a success: forgets the account's count, takes the attempt off the address's, and sweeps some of what has expired.
with cleared as (
    delete from login_attempts
    where key = $1
    returning key
), swept as (
    delete from login_attempts
    where key in (
        select key from login_attempts
        -- So old that no log-in of the moment is likely to hold one of them.
        where expires_at < now() - make_interval(days => 1)
        order by expires_at
        limit 100
    )
)
update login_attempts
set attempts = attempts - 1
where key = $2 and attempts > 0 and (select count(key) from cleared) >= 0 -- which makes it wait for `cleared`
returning attempts;
