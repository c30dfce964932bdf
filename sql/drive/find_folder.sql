-- A user's folder. No row: the shard does not own the slot. A row of nulls: no such folder.
SELECT f.folder_id, f.parent_id, f.folder_name, shardrive.folder_path(f.user_id, f.folder_id),
       NOT shardrive.is_live(f.user_id, f.folder_id), f.version, f.created_at, f.updated_at, f.user_id
  FROM shardrive.slot_map AS m
  LEFT JOIN folders AS f ON f.user_id = $3 AND f.folder_id = $4
 WHERE m.slot = $1 AND m.owner = $2
