-- Which files of a batch, numbered from 1, are not stored under their ids: another entry has the name.
SELECT batch.place
  FROM unnest($1::bigint[], $2::uuid[]) WITH ORDINALITY AS batch (user_id, file_id, place)
 WHERE NOT EXISTS (SELECT FROM file_metadata AS f WHERE f.user_id = batch.user_id AND f.file_id = batch.file_id)
