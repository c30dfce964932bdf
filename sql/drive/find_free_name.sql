-- The first of these names ($3) that no entry of a folder ($2) has. No row: all are taken.
SELECT wanted.name
  FROM unnest($3::text[]) WITH ORDINALITY AS wanted (name, place)
 WHERE NOT EXISTS (
        SELECT FROM folders
         WHERE user_id = $1 AND parent_id = $2 AND trashed_at IS NULL
           AND shardrive.entry_key(folder_name) = shardrive.entry_key(wanted.name)
       )
   AND NOT EXISTS (
        SELECT FROM file_metadata
         WHERE user_id = $1 AND folder_id = $2 AND trashed_at IS NULL
           AND shardrive.entry_key(file_name) = shardrive.entry_key(wanted.name)
       )
 ORDER BY wanted.place
 LIMIT 1
