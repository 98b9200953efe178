-- Accounts. The e-mail is stored in lower case, so a plain unique constraint makes it unique without regard to case.
-- Every statement says "if not exists": yoyo commits a migration before it records it as applied. A run that is killed in
-- between runs the file again.

set local lock_timeout = '3s';

create table if not exists users (
    id uuid not null,
    email text not null,
    password_hash text not null,
    created_at timestamptz not null default now(),

    constraint users_pkey primary key (id),
    constraint users_email_key unique (email),
    constraint users_email_lower_case check (email = lower(email)),
    constraint users_email_length check (char_length(email) between 3 and 255)
);
