-- What a user's drive holds: the version of the tree, folders besides the root, files, bytes, and rows that were put
-- into the trash themselves. No row: the shard does not own the slot.
SELECT coalesce((SELECT tree_version FROM folders
                  WHERE user_id = $3 AND folder_id = '00000000-0000-0000-0000-000000000000'), 0),
       (SELECT count(*) FROM folders WHERE user_id = $3 AND parent_id IS NOT NULL),
       (SELECT count(*) FROM file_metadata WHERE user_id = $3),
       (SELECT coalesce(sum(size_bytes), 0)::text FROM file_metadata WHERE user_id = $3),
       (SELECT count(*) FROM folders WHERE user_id = $3 AND trashed_at IS NOT NULL)
       + (SELECT count(*) FROM file_metadata WHERE user_id = $3 AND trashed_at IS NOT NULL)
  FROM shardrive.slot_map AS m
 WHERE m.slot = $1 AND m.owner = $2
