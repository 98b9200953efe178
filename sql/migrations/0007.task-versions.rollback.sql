set local lock_timeout = '3s';

alter table tasks
    drop column if exists fingerprint,
    drop column if exists change_id;
