-- A user's folder, with its path and a slash at the end, and whether it is in the trash, by itself or with a folder
-- above it. No row: the shard does not own the slot. A row of nulls: no such folder.
SELECT f.folder_id, f.parent_id, f.folder_name, around.path, around.is_live IS NOT TRUE, f.version, f.created_at, f.updated_at, f.user_id
  FROM shardrive.slot_map AS m
  LEFT JOIN folders AS f ON f.user_id = $3 AND f.folder_id = $4
  LEFT JOIN LATERAL shardrive.folder_place(f.user_id, f.folder_id) AS around ON f.folder_id IS NOT NULL
 WHERE m.slot = $1 AND m.owner = $2
