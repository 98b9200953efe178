-- Tokens that were ended before their `exp`: those of this user that were issued before this time. No foreign key: the row of
-- a deleted account outlives it, because its tokens do.

set local lock_timeout = '3s';

create table if not exists token_cutoffs (
    user_id uuid not null,
    -- In whole seconds, as the time in a token.
    valid_from timestamptz not null,

    constraint token_cutoffs_pkey primary key (user_id)
);
