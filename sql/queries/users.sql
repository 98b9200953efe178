-- Every statement on users and on the cutoffs of their tokens.

-- name: create_user
-- A new account. The service makes the id ($1): when the statement is sent a second time after a lost connection, it
-- finds its own row and changes nothing. Another account with the e-mail violates users_email_key.
insert into users (id, email, password_hash)
values ($1, $2, $3)
on conflict (id) do nothing
returning id;

-- name: find_user
-- For the log-in: the account with this e-mail, and the time from which its tokens are valid (seconds since 1970).
select id, email, password_hash, coalesce(extract(epoch from valid_from), 0)::float8 as tokens_valid_from
from users
left join token_cutoffs on user_id = id
where email = $1;

-- name: find_token_cutoffs
-- Those of several users ($1) whose tokens were ended, and the times from which their tokens are valid.
select
    array_agg(user_id::text) as user_ids,
    array_agg(extract(epoch from valid_from)::float8) as valid_from
from token_cutoffs
where user_id = any($1);

-- name: find_new_token_cutoffs
-- The same of all users whose tokens were ended in the last $1 seconds.
select
    array_agg(user_id::text) as user_ids,
    array_agg(extract(epoch from valid_from)::float8) as valid_from
from token_cutoffs
where valid_from > now() - make_interval(secs => $1);
