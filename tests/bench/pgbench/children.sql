-- The first 100 files of a folder by name, by the index that the service uses: user 42 on shard 0, user 43 on shard 1.
SELECT file_id, file_name, version, mime_type, checksum, size_bytes, modified_at, created_at, updated_at
  FROM file_metadata
 WHERE user_id = 42 + :shard AND folder_id = ':folder'::uuid AND trashed_at IS NULL AND shardrive.entry_key(file_name) > ''
 ORDER BY shardrive.entry_key(file_name) LIMIT 101;
