-- The twenty files that came last. There is no index on created_at: this reads the whole table.
SELECT f.created_at, f.user_id, coalesce(shardrive.file_path(f.user_id, f.folder_id, f.file_name), f.file_name) AS path,
       f.size_bytes, f.mime_type, f.file_id
  FROM (SELECT * FROM file_metadata ORDER BY created_at DESC, file_id DESC LIMIT 20) AS f
 ORDER BY f.created_at DESC, f.file_id DESC;
