-- One SQL statement makes the rows that the measured deletes take away: $count of them, spread over the writers.
insert into tasks (user_id, id, title)
select md5('user ' || (%(first)s + n %% %(users)s))::uuid, gen_random_uuid(), 'To be deleted'
from generate_series(0, %(count)s - 1) as n
returning user_id, id
