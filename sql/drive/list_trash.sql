-- A page of what was put into the trash itself, newest first, before the time $5 (NULL: from the newest on) and the id
-- $6. No row: the shard does not own the slot. One row of nulls: the trash is empty here. A folder whose purge has
-- begun is not listed.
SELECT entry.kind, entry.id, entry.name, entry.trashed_at, entry.size_bytes, around.path
  FROM shardrive.slot_map AS m
  LEFT JOIN LATERAL (
        (SELECT 0 AS kind, f.folder_id AS id, f.folder_name AS name, f.trashed_at, NULL::bigint AS size_bytes, f.parent_id AS folder
           FROM folders AS f
          WHERE f.user_id = $3 AND f.trashed_at > '-infinity' AND (f.trashed_at, f.folder_id) < (coalesce($5, 'infinity'::timestamptz), $6)
          ORDER BY f.trashed_at DESC, f.folder_id DESC
          LIMIT $4)
        UNION ALL
        (SELECT 1, f.file_id, f.file_name, f.trashed_at, f.size_bytes, f.folder_id
           FROM file_metadata AS f
          WHERE f.user_id = $3 AND f.trashed_at IS NOT NULL AND (f.trashed_at, f.file_id) < (coalesce($5, 'infinity'::timestamptz), $6)
          ORDER BY f.trashed_at DESC, f.file_id DESC
          LIMIT $4)
        ORDER BY 4 DESC, 2 DESC
        LIMIT $4
       ) AS entry ON true
  LEFT JOIN LATERAL shardrive.folder_place($3, entry.folder) AS around ON entry.folder IS NOT NULL
 WHERE m.slot = $1 AND m.owner = $2
 ORDER BY entry.trashed_at DESC, entry.id DESC
