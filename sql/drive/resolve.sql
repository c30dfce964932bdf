-- Follows the names of a path ($4) from the root down. No row: the shard does not own the slot. One row: how many of the names
-- are folders; the last of these folders; and the file under the next name, if there is one.
WITH RECURSIVE below (folder_id, depth) AS (
    SELECT f.folder_id, 0
      FROM folders AS f
     WHERE f.user_id = $3 AND f.folder_id = '00000000-0000-0000-0000-000000000000'
    UNION ALL
    SELECT f.folder_id, b.depth + 1
      FROM below AS b,
           -- The limit keeps the order of the join, also before the table has statistics: one step in the index for each name.
           LATERAL (SELECT folder_id
                      FROM folders
                     WHERE user_id = $3 AND parent_id = b.folder_id AND trashed_at IS NULL
                       AND shardrive.entry_key(folder_name) = shardrive.entry_key(($4::text[])[b.depth + 1])
                     LIMIT 1) AS f
     WHERE b.depth < cardinality($4::text[])
)
SELECT deepest.depth, deepest.folder_id, file.file_id
  FROM shardrive.slot_map AS m
  LEFT JOIN LATERAL (SELECT * FROM below ORDER BY depth DESC LIMIT 1) AS deepest ON true
  LEFT JOIN file_metadata AS file
    ON file.user_id = $3 AND file.folder_id = deepest.folder_id AND file.trashed_at IS NULL
   AND shardrive.entry_key(file.file_name) = shardrive.entry_key(($4::text[])[deepest.depth + 1])
 WHERE m.slot = $1 AND m.owner = $2
