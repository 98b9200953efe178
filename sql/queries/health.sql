-- name: ping
-- Returns a row if the database answers.
select true as answers;
