set local lock_timeout = '3s';

drop function if exists task_json(uuid, text, text, boolean, uuid, timestamptz, timestamptz);
