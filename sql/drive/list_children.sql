-- A page of what a folder ($4) holds: folders first, then files, by name. It begins after the name $6 among the folders and $7
-- among the files; NULL: leave this kind out. No row: the shard does not own the slot. One row of nulls: the folder is empty here.
SELECT child.*
  FROM shardrive.slot_map AS m
  LEFT JOIN LATERAL (
        (SELECT 0 AS kind, shardrive.entry_key(f.folder_name) AS name_key, f.folder_id, f.folder_name, f.version,
                NULL::text AS mime_type, NULL::text AS checksum, NULL::bigint AS size_bytes, NULL::timestamptz AS modified_at,
                f.created_at, f.updated_at
           FROM folders AS f
          WHERE f.user_id = $3 AND f.parent_id = $4 AND f.trashed_at IS NULL
            AND shardrive.entry_key(f.folder_name) > $6
          ORDER BY shardrive.entry_key(f.folder_name)
          LIMIT $5)
        UNION ALL
        (SELECT 1, shardrive.entry_key(f.file_name), f.file_id, f.file_name, f.version,
                f.mime_type, f.checksum, f.size_bytes, f.modified_at, f.created_at, f.updated_at
           FROM file_metadata AS f
          WHERE f.user_id = $3 AND f.folder_id = $4 AND f.trashed_at IS NULL
            AND shardrive.entry_key(f.file_name) > $7
          ORDER BY shardrive.entry_key(f.file_name)
          LIMIT $5)
        ORDER BY 1, 2
        LIMIT $5
       ) AS child ON true
 WHERE m.slot = $1 AND m.owner = $2
