-- A path under which a mirror would make a folder beside a file, or a file beside a folder, that stay. No row: there is
-- none.
SELECT c.path
  FROM pg_temp.mirror_changes AS c
  JOIN file_metadata AS f
    ON f.user_id = $1 AND f.folder_id = c.folder_id AND f.trashed_at IS NULL
   AND shardrive.entry_key(f.file_name) = shardrive.entry_key(c.entry_name)
 WHERE c.change = 'create' AND c.is_folder
   AND NOT EXISTS (SELECT FROM pg_temp.mirror_changes AS d WHERE d.change = 'delete' AND NOT d.is_folder AND d.entry_id = f.file_id)
UNION ALL
SELECT c.path
  FROM pg_temp.mirror_changes AS c
  JOIN pg_temp.mirrored_folders AS f ON f.is_there AND f.path_key = shardrive.entry_key(c.path)
 WHERE c.change = 'create' AND NOT c.is_folder
   AND NOT EXISTS (SELECT FROM pg_temp.mirror_changes AS d WHERE d.change = 'delete' AND d.is_folder AND d.entry_id = f.folder_id)
 LIMIT 1
