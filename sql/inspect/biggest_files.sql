-- The twenty biggest files.
SELECT pg_size_pretty(size_bytes) AS size, size_bytes, user_id, coalesce(path, file_name) AS path, mime_type, file_id
  FROM file_metadata
 WHERE size_bytes IS NOT NULL
 ORDER BY size_bytes DESC, file_id
 LIMIT 20;
