-- Every statement on users.

-- name: create_user
-- A new account. The service makes the id ($1): when the statement is sent a second time after a lost connection, it
-- finds its own row and changes nothing. Another account with the e-mail violates users_email_key.
insert into users (id, email, password_hash)
values ($1, $2, $3)
on conflict (id) do nothing
returning id;

-- name: find_user
-- The account of an e-mail, for the log-in.
select id, email, password_hash
from users
where email = $1;
