-- Notes which folders a mirror makes, renames to another spelling, and deletes.
INSERT INTO pg_temp.mirror_changes (change, is_folder, path, entry_id, folder_id, entry_name, is_top)
SELECT CASE WHEN NOT f.is_there THEN 'create' WHEN f.is_wanted THEN 'update' ELSE 'delete' END,
       true, f.path, f.folder_id, parent.folder_id, f.folder_name, parent.is_wanted
  FROM pg_temp.mirrored_folders AS f
  JOIN pg_temp.mirrored_folders AS parent ON parent.path_key = f.parent_key
 WHERE NOT f.is_there OR f.is_renamed OR (NOT f.is_wanted AND f.is_inside AND $1)
