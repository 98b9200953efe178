-- Log-ins that have not succeeded, counted in the database so that all workers and machines share the count.
-- Unlogged: a crash forgets the counts, which harms nobody, and no attempt waits for the disk.

set local lock_timeout = '3s';

create unlogged table if not exists login_attempts (
    -- A digest, never an e-mail: of account and client address together, or of the address alone.
    key bytea not null,
    attempts bigint not null,
    expires_at timestamptz not null,

    constraint login_attempts_pkey primary key (key)
);

create index if not exists login_attempts_expiry on login_attempts (expires_at);
