-- A file by its id, which names the slot. No row: the shard does not own the slot. A row of nulls: no such file.
SELECT f.file_id, f.file_name, f.path, f.mime_type, f.checksum, f.size_bytes, f.modified_at, f.created_at, f.updated_at,
       f.user_id
  FROM shardrive.slot_map AS m
  LEFT JOIN file_metadata AS f ON f.file_id = $3 AND shardrive.slot_of(f.user_id) = m.slot
 WHERE m.slot = $1 AND m.owner = $2
