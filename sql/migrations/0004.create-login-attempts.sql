-- Counts of log-ins that did not succeed, in the database, so that all workers and machines share them.
-- The table is unlogged: a crash empties it, which is acceptable, and no log-in waits for the disk.

set local lock_timeout = '3s';

create unlogged table if not exists login_attempts (
    -- A digest of account and client address together, or of the address alone; never an e-mail in the clear.
    key bytea not null,
    attempts bigint not null,
    expires_at timestamptz not null,

    constraint login_attempts_pkey primary key (key)
);

create index if not exists login_attempts_expiry on login_attempts (expires_at);
