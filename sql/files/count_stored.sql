-- How many files of a batch are stored under the batch's ids.
SELECT count(*)
  FROM unnest($1::bigint[], $2::uuid[]) AS batch (user_id, file_id)
  JOIN file_metadata USING (user_id, file_id)
