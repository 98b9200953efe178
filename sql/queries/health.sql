-- name: ping :one
-- Says that the database answers.
select true as answers;
