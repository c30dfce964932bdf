-- How many of a batch's files are there under the ids that were minted for them.
SELECT count(*)
  FROM unnest($1::bigint[], $2::uuid[]) AS batch (user_id, file_id)
  JOIN file_metadata USING (user_id, file_id)
