-- Deletes a batch of files; gives the deleted ones. With a state ($3), a file in another state is left out. Nobody
-- waits here: a row that another transaction holds is left out. A held row keeps its place (ctid), so that it is not
-- looked for again.
WITH held AS MATERIALIZED (
    SELECT f.ctid AS place
      FROM unnest($1::bigint[], $2::uuid[], $3::text[]) AS w (user_id, file_id, state)
      JOIN file_metadata AS f USING (user_id, file_id)
     WHERE w.state IS NULL OR f::text = w.state
       FOR UPDATE OF f SKIP LOCKED
)
DELETE FROM file_metadata AS f
 USING held AS h
 WHERE f.ctid = h.place
RETURNING f.user_id, f.file_id
