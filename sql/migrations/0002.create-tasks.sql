-- Tasks. The owner comes first in every index, because every statement names the owner. With this key the table can be
-- hash-partitioned, or sharded by user, without a change of a statement.

set local lock_timeout = '3s';

create table if not exists tasks (
    user_id uuid not null,
    id uuid not null,
    title text not null,
    description text,
    completed boolean not null default false,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),

    constraint tasks_pkey primary key (user_id, id),
    constraint tasks_user_id_fkey foreign key (user_id) references users (id) on delete cascade,
    constraint tasks_title_length check (char_length(title) between 1 and 255),
    -- These are the characters that Python's str.strip() removes, so the service and the database agree on what is blank.
    constraint tasks_title_trimmed check (
        title = btrim(
            title,
            E'\t\n\x0b\f\r\x1c\x1d\x1e\x1f \u0085\u00a0\u1680'
            '\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000'
        )
    ),
    constraint tasks_description_length check (char_length(description) <= 1000)
);

-- For the list, newest first: the index returns the rows in order. The id decides between equal times.
create index if not exists tasks_newest_first on tasks (user_id, created_at desc, id desc);
