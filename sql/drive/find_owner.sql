-- Whose folder it is that has an id. No row: the shard does not own the slot. A null: no such folder.
SELECT f.user_id
  FROM shardrive.slot_map AS m
  LEFT JOIN folders AS f ON f.folder_id = $3 AND f.parent_id IS NOT NULL AND shardrive.slot_of(f.user_id) = m.slot
 WHERE m.slot = $1 AND m.owner = $2
 LIMIT 1
