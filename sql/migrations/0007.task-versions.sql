-- Makes requests safe to repeat and safe to send at once. Both columns are null in a row that does not need them: no row
-- is rewritten, and the lock is held for milliseconds. An instance of before neither reads nor writes them.

set local lock_timeout = '3s';

alter table tasks
    -- Of a task made with an Idempotency-Key: a keyed digest of the title and description that were sent then. It tells
    -- a repetition from another task, also after the task was changed.
    add column if not exists fingerprint bytea,
    -- The last change made under If-Match: an id that the service chooses for each. A statement that is sent a second
    -- time, after a lost connection, recognises its own change by it.
    add column if not exists change_id uuid;
