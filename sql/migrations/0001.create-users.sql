-- Accounts. An e-mail is stored in lower case, so that a plain unique constraint makes it unique without regard to case.
-- "if not exists" throughout: yoyo commits a file before it notes the file as applied, so a run that is killed in between
-- must be able to run the file once more.

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
