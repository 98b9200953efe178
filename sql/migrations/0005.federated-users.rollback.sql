-- Fails and changes nothing while users without an e-mail exist: they and all their tasks would have to be deleted.
-- An operator decides that, with: delete from users where email is null.

set local lock_timeout = '3s';

alter table users
    alter column email set not null,
    alter column password_hash set not null;

alter table users drop constraint if exists users_email_with_password;
