-- name: ping
-- Says that the database answers.
select true as answers;
