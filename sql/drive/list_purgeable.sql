-- What stands in a user's trash itself, oldest first, with folders whose purge has begun: at most $4 of each kind. No
-- row: the shard does not own the slot. One row of nulls: the trash is empty.
SELECT entry.is_folder, entry.id
  FROM shardrive.slot_map AS m
  LEFT JOIN LATERAL (
        (SELECT true AS is_folder, folder_id AS id
           FROM folders
          WHERE user_id = $3 AND trashed_at IS NOT NULL
          ORDER BY trashed_at, folder_id
          LIMIT $4)
        UNION ALL
        (SELECT false, file_id
           FROM file_metadata
          WHERE user_id = $3 AND trashed_at IS NOT NULL
          ORDER BY trashed_at, file_id
          LIMIT $4)
       ) AS entry ON true
 WHERE m.slot = $1 AND m.owner = $2
 ORDER BY entry.is_folder
