-- What is wrong with the trees of this shard's users, by slot: how many folders there are besides the roots; folders
-- that no way from the root leads to; files whose folder is not there; and names that a file and a folder share.
WITH RECURSIVE reached (user_id, folder_id, depth) AS (
    SELECT user_id, folder_id, 0 FROM folders WHERE parent_id IS NULL
    UNION ALL
    SELECT f.user_id, f.folder_id, r.depth + 1
      FROM reached AS r
      JOIN folders AS f ON f.user_id = r.user_id AND f.parent_id = r.folder_id
     WHERE r.depth < 200
), found AS (
    SELECT user_id, 1 AS folders, 0 AS lost_folders, 0 AS lost_files, 0 AS shared_names FROM folders WHERE parent_id IS NOT NULL
    UNION ALL
    SELECT user_id, 0, 1, 0, 0
      FROM folders AS f
     WHERE NOT EXISTS (SELECT FROM reached AS r WHERE r.user_id = f.user_id AND r.folder_id = f.folder_id)
    UNION ALL
    SELECT user_id, 0, 0, 1, 0
      FROM file_metadata AS f
     WHERE folder_id IS NOT NULL
       AND NOT EXISTS (SELECT FROM folders AS d WHERE d.user_id = f.user_id AND d.folder_id = f.folder_id)
    UNION ALL
    SELECT f.user_id, 0, 0, 0, 1
      FROM folders AS d
      JOIN file_metadata AS f
        ON f.user_id = d.user_id AND f.folder_id = d.parent_id
       AND shardrive.entry_key(f.file_name) = shardrive.entry_key(d.folder_name)
     WHERE d.trashed_at IS NULL AND f.trashed_at IS NULL
)
SELECT m.slot, m.owner, EXISTS (SELECT FROM shardrive.local_moves AS l WHERE get_bit(l.slots, m.slot) = 1) AS moving,
       sum(folders) AS folders, sum(lost_folders) AS lost_folders, sum(lost_files) AS lost_files,
       sum(shared_names) AS shared_names
  FROM found
  JOIN shardrive.slot_map AS m ON m.slot = shardrive.slot_of(found.user_id)
 GROUP BY m.slot, m.owner
 ORDER BY m.slot
