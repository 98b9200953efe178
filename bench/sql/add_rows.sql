-- One SQL statement makes the rows that the measured deletes take away: $count of them, spread over the writers. Their ids
-- follow from their numbers, so that pgbench can name them.
insert into tasks (user_id, id, title)
select md5('user ' || (%(first)s + n %% %(users)s))::uuid, md5('row ' || n)::uuid, 'To be deleted'
from generate_series(0, %(count)s - 1) as n
returning user_id, id
