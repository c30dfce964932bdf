-- Stores a file in a folder ($3), unless an entry has the name.
INSERT INTO file_metadata (user_id, file_id, folder_id, file_name, mime_type, checksum, size_bytes, modified_at)
SELECT $1, $2, $3, $4, $5, $6, $7, $8
 WHERE NOT EXISTS (
        SELECT FROM folders AS f
         WHERE f.user_id = $1 AND f.parent_id = $3 AND f.trashed_at IS NULL
           AND shardrive.entry_key(f.folder_name) = shardrive.entry_key($4)
       )
ON CONFLICT DO NOTHING
