-- Of a batch's ids, those under which another user has stored a file.
SELECT batch.file_id
  FROM unnest($1::bigint[], $2::uuid[]) AS batch (user_id, file_id)
  JOIN file_metadata AS f USING (file_id)
 WHERE f.user_id <> batch.user_id
