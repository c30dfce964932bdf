-- The twenty biggest files.
SELECT pg_size_pretty(f.size_bytes) AS size, f.size_bytes, f.user_id,
       coalesce(shardrive.file_path(f.user_id, f.folder_id, f.file_name), f.file_name) AS path, f.mime_type, f.file_id
  FROM (SELECT * FROM file_metadata WHERE size_bytes IS NOT NULL ORDER BY size_bytes DESC, file_id LIMIT 20) AS f
 ORDER BY f.size_bytes DESC, f.file_id;
