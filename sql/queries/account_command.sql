-- For `python -m service account`, with the role that owns the tables. $1 is the user's id, except where it says otherwise.

-- name: limit_waits
-- Limits the lock waits and the duration of each statement of this transaction.
select
    set_config('lock_timeout', '10s', true) as lock_timeout,
    set_config('statement_timeout', '60s', true) as statement_timeout;

-- name: find_account
-- The account with this e-mail or id ($1), without the password's hash, which the operator does not need.
select id::text as id, email, created_at, valid_from as tokens_valid_from
from users
left join token_cutoffs on user_id = id
where email = $1 or id::text = $1;

-- name: find_account_attempts
-- The counts of an account's log-ins. $1 is the beginning of the keys, service/auth/login_limits.py.
select attempts, expires_at
from login_attempts
where substring(key from 1 for 16) = $1
order by expires_at;

-- name: delete_account_attempts
-- Deletes the counts of an account's log-ins ($1 as above).
delete from login_attempts
where substring(key from 1 for 16) = $1;

-- name: set_password
-- Replaces the password's hash ($2).
update users
set password_hash = $2
where id = $1
returning id;

-- name: delete_account
-- Deletes the account; the foreign key deletes its tasks.
delete from users
where id = $1
returning id;

-- name: end_tokens
-- Ends all older tokens. It is the last statement of its transaction: a log-in may read the old hash until the commit,
-- and the time in its token, in whole seconds, must be before the cutoff. Later log-ins put the cutoff into their tokens.
insert into token_cutoffs (user_id, valid_from)
values ($1, date_trunc('second', clock_timestamp()) + make_interval(secs => 2))
on conflict (user_id) do update set valid_from = greatest(token_cutoffs.valid_from, excluded.valid_from)
returning valid_from;
