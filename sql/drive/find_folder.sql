-- A user's folder, with its path and a slash at the end, and whether it is in the trash, by itself or with a folder above it. No row:
-- the shard does not own the slot. A row of nulls: no such folder.
SELECT f.folder_id, f.parent_id, f.folder_name, around.path, around.is_live IS NOT TRUE, f.version, f.created_at, f.updated_at, f.user_id
  FROM shardrive.slot_map AS m
  LEFT JOIN folders AS f ON f.user_id = $3 AND f.folder_id = $4
  LEFT JOIN LATERAL (
        WITH RECURSIVE above (next_id, path, is_live, depth) AS (
            SELECT f.folder_id, ''::text COLLATE "C", true, 0
            UNION ALL
            SELECT d.parent_id, CASE WHEN d.parent_id IS NULL THEN a.path ELSE d.folder_name || '/' || a.path END,
                   a.is_live AND d.trashed_at IS NULL, a.depth + 1
              FROM above AS a,
                   LATERAL (SELECT * FROM folders WHERE user_id = f.user_id AND folder_id = a.next_id LIMIT 1) AS d
             -- No cycle can be made; a cycle by hand ends here.
             WHERE a.depth < 200
        )
        SELECT path, is_live FROM above WHERE next_id IS NULL
       ) AS around ON f.folder_id IS NOT NULL
 WHERE m.slot = $1 AND m.owner = $2
