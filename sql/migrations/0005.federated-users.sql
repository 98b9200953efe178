-- Users who log in with Better Auth have neither e-mail nor password here; nobody has only one of the two. The service
-- never matches them with an account of the same e-mail, because it has not verified that e-mail.

set local lock_timeout = '3s';

-- Older code finds a user by e-mail only, so it never reads such a row.
-- squawk-ignore ban-drop-not-null
alter table users alter column email drop not null;
-- squawk-ignore ban-drop-not-null
alter table users alter column password_hash drop not null;

-- squawk-ignore ban-drop-constraint
alter table users drop constraint if exists users_email_with_password;

-- The check reads all users once: about a second for some millions. That needs no separate validation.
-- squawk-ignore constraint-missing-not-valid
alter table users add constraint users_email_with_password check ((email is null) = (password_hash is null));
