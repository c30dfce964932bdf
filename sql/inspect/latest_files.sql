-- The twenty files that came last. There is no index on created_at: this reads the whole table.
SELECT created_at, user_id, coalesce(path, file_name) AS path, size_bytes, mime_type, file_id
  FROM file_metadata
 ORDER BY created_at DESC, file_id DESC
 LIMIT 20;
