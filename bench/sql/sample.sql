-- The tasks that the measured gets and updates go to, in an order that follows nothing.
select user_id, id from tasks
where user_id in (select md5('user ' || n)::uuid from generate_series(%(first)s::bigint, %(first)s + %(users)s - 1) as n)
order by md5(id::text)
limit %(count)s
