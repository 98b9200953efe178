-- Counts of failed log-ins and sign-ups, and the pairs of account and address that have logged in. The keys are
-- digests: of a pair, of an address, or of a pair that has logged in before (its `attempts` is 0).
-- Each statement locks the pair's rows before the address's, so that two statements cannot deadlock.
-- Citus accepts only immutable expressions in DO UPDATE: excluded.expires_at - $6 stands for now(), and timestamps without
-- a time zone for those with one.

-- name: count_log_in
-- Counts a log-in before its password is checked, so that simultaneous log-ins are all counted. $1 is the key of the pair, $2
-- of the address, $3 of the pair as one that has logged in before; $4 and $5 are the limits of pair and address, $6 the
-- seconds of the window. wait_seconds is null if the log-in may continue; else it was not counted, and no row was added.
-- A pair that has logged in before has only its own limit, so others at its address cannot lock it out.
-- If it is sent twice, it counts twice, which is harmless.
with before as (
    select
        max(case when key = $1 and attempts >= $4::integer then expires_at end) as pair_until,
        max(case when key = $2 and attempts >= $5::integer then expires_at end) as address_until,
        count(case when key = $3 then 1 end) > 0 as has_logged_in
    from login_attempts
    where (key = $1 or key = $2 or key = $3) and expires_at > now()
), pair as (
    insert into login_attempts as counted (key, attempts, expires_at)
    select $1, 1, now() + make_interval(secs => $6)
    from before
    where pair_until is null and (address_until is null or has_logged_in)
    on conflict (key) do update set
        attempts = case
            when counted.expires_at at time zone 'UTC' > excluded.expires_at at time zone 'UTC' - make_interval(secs => $6)
            then counted.attempts + 1
            else 1
        end,
        expires_at = case
            when counted.expires_at at time zone 'UTC' > excluded.expires_at at time zone 'UTC' - make_interval(secs => $6)
            then counted.expires_at
            else excluded.expires_at
        end
    where
        counted.attempts < $4::integer
        or counted.expires_at at time zone 'UTC' <= excluded.expires_at at time zone 'UTC' - make_interval(secs => $6)
    returning key
), address as (
    insert into login_attempts as counted (key, attempts, expires_at)
    select $2, 1, now() + make_interval(secs => $6)
    from pair
    on conflict (key) do update set
        attempts = case
            when counted.expires_at at time zone 'UTC' > excluded.expires_at at time zone 'UTC' - make_interval(secs => $6)
            then counted.attempts + 1
            else 1
        end,
        expires_at = case
            when counted.expires_at at time zone 'UTC' > excluded.expires_at at time zone 'UTC' - make_interval(secs => $6)
            then counted.expires_at
            else excluded.expires_at
        end
    where
        counted.attempts < $5::integer
        or counted.expires_at at time zone 'UTC' <= excluded.expires_at at time zone 'UTC' - make_interval(secs => $6)
    returning key
)
select
    case
        when pair.key is null or (address.key is null and not before.has_logged_in)
        then ceil(extract(epoch from coalesce(
            greatest(pair_until, case when not has_logged_in then address_until end),
            now() + make_interval(secs => $6)
        ) - now()))::integer
    end as wait_seconds,
    address.key is not null as counts_for_address
from before
left join pair on true
left join address on true;

-- name: count_sign_up
-- Counts a sign-up before its password is hashed. $1 is the key of the address, $2 its limit, $3 the seconds of the window;
-- wait_seconds as above.
with before as (
    select max(case when attempts >= $2::integer then expires_at end) as address_until
    from login_attempts
    where key = $1 and expires_at > now()
), address as (
    insert into login_attempts as counted (key, attempts, expires_at)
    select $1, 1, now() + make_interval(secs => $3)
    from before
    where address_until is null
    on conflict (key) do update set
        attempts = case
            when counted.expires_at at time zone 'UTC' > excluded.expires_at at time zone 'UTC' - make_interval(secs => $3)
            then counted.attempts + 1
            else 1
        end,
        expires_at = case
            when counted.expires_at at time zone 'UTC' > excluded.expires_at at time zone 'UTC' - make_interval(secs => $3)
            then counted.expires_at
            else excluded.expires_at
        end
    where
        counted.attempts < $2::integer
        or counted.expires_at at time zone 'UTC' <= excluded.expires_at at time zone 'UTC' - make_interval(secs => $3)
    returning key
)
select
    case
        when address.key is null
        then ceil(extract(epoch from coalesce(address_until, now() + make_interval(secs => $3)) - now()))::integer
    end as wait_seconds
from before
left join address on true;

-- name: take_back_attempt
-- Reverses the count of an attempt whose password was never checked, or of a successful sign-up. $1 is the key of the pair, $2
-- that of the address; null if the attempt was not counted under it.
with pair as (
    update login_attempts
    set attempts = attempts - 1
    where key = $1 and attempts > 0
    returning key
)
update login_attempts
set attempts = attempts - 1
where key = $2 and attempts > 0 and (select count(key) from pair) >= 0 -- which makes it wait for `pair`
returning attempts;

-- name: clear_attempts
-- After a successful log-in: deletes the pair's count ($1), subtracts the attempt from the address's ($2, null if it was
-- not counted), and remembers the pair ($3) for $4 seconds. A pair that was remembered within the last day is not updated.
with pair as (
    delete from login_attempts
    where key = $1
    returning key
), remembered as (
    insert into login_attempts as known (key, attempts, expires_at)
    select $3, 0, now() + make_interval(secs => $4)
    from (select count(key) as cleared from pair) as after_pair
    on conflict (key) do update set expires_at = excluded.expires_at
    where known.expires_at at time zone 'UTC' < excluded.expires_at at time zone 'UTC' - make_interval(days => 1)
    returning key
)
update login_attempts
set attempts = attempts - 1
where key = $2 and attempts > 0 and (select count(key) from remembered) >= 0 -- which makes it wait for `remembered`
returning attempts;

-- name: sweep_attempts
-- Deletes some rows that expired a while ago; a log-in in progress may hold a lock on one that has just expired.
delete from login_attempts
where key in (
    select key from login_attempts
    where expires_at < now() - make_interval(mins => 1)
    order by expires_at
    limit 1000
    for update skip locked
);
