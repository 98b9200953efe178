-- Room for people who log in elsewhere, with Better Auth: they have neither e-mail nor password here, and nobody has only one
-- of the two. They are never matched by e-mail with an account: nobody here has seen it verified.

set local lock_timeout = '3s';

-- Older code finds a user by e-mail only, so it never sees such a row.
-- squawk-ignore ban-drop-not-null
alter table users alter column email drop not null;
-- squawk-ignore ban-drop-not-null
alter table users alter column password_hash drop not null;

-- squawk-ignore ban-drop-constraint
alter table users drop constraint if exists users_email_with_password;

-- One pass over the people, a second for some millions, is worth no migration of its own.
-- squawk-ignore constraint-missing-not-valid
alter table users add constraint users_email_with_password check ((email is null) = (password_hash is null));
