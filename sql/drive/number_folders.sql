-- Notes which folder of a mirror each number of the listing's folders means.
UPDATE pg_temp.listed_folders AS n
   SET folder_id = f.folder_id
  FROM pg_temp.mirrored_folders AS f
 WHERE f.path_key = shardrive.entry_key(n.path)
