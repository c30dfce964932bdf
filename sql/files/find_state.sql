-- A user's file, and the whole row as a text, for the comparison in a later change. No row: the shard does not own the
-- slot. A row of nulls: no such file.
SELECT f.file_id, f.file_name, f.folder_id, around.path || f.file_name, f.mime_type, f.checksum, f.size_bytes, f.modified_at,
       f.created_at, f.updated_at, f.trashed_at IS NOT NULL OR (f.folder_id IS NOT NULL AND around.is_live IS NOT TRUE),
       f.content_ref, f.user_id, f::text
  FROM shardrive.slot_map AS m
  LEFT JOIN file_metadata AS f ON f.user_id = $3 AND f.file_id = $4
  LEFT JOIN LATERAL shardrive.folder_place(f.user_id, f.folder_id) AS around ON f.folder_id IS NOT NULL
 WHERE m.slot = $1 AND m.owner = $2
