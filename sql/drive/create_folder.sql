-- Makes a folder in a live folder, unless an entry has the name. No row: the name is taken, or there is no such parent.
INSERT INTO folders (user_id, folder_id, parent_id, folder_name)
SELECT $1, $2, $3, $4
 WHERE shardrive.is_live($1, $3)
   AND NOT EXISTS (
        SELECT FROM file_metadata AS f
         WHERE f.user_id = $1 AND f.folder_id = $3 AND f.trashed_at IS NULL
           AND shardrive.entry_key(f.file_name) = shardrive.entry_key($4)
       )
ON CONFLICT (user_id, parent_id, shardrive.entry_key(folder_name)) WHERE trashed_at IS NULL DO NOTHING
RETURNING folder_id
