-- Takes away what a measurement of creates or deletes left with the writers, and says how much that was.
with gone as (
    delete from tasks
    where user_id in (select md5('user ' || n)::uuid from generate_series(%(first)s::bigint, %(first)s + %(users)s - 1) as n)
    returning 1
)
select count(*) from gone
