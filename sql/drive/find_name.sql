-- Which entry of a folder ($2) has a name: its id, and whether it is a folder. No row: the name is free.
SELECT folder_id, true
  FROM folders
 WHERE user_id = $1 AND parent_id = $2 AND trashed_at IS NULL
   AND shardrive.entry_key(folder_name) = shardrive.entry_key($3)
UNION ALL
SELECT file_id, false
  FROM file_metadata
 WHERE user_id = $1 AND folder_id = $2 AND trashed_at IS NULL
   AND shardrive.entry_key(file_name) = shardrive.entry_key($3)
 LIMIT 1
