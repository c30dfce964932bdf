-- Stores files of a user in a folder ($2), each unless an entry of the folder has its name. Of several files with one
-- name the first is stored. Returns the ids of the stored files.
INSERT INTO file_metadata (user_id, folder_id, file_id, file_name, mime_type, checksum, size_bytes, modified_at, content_ref)
SELECT $1, $2, new.file_id, new.file_name, new.mime_type, new.checksum, new.size_bytes, new.modified_at,
       new.content_ref
  FROM unnest($3::uuid[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::timestamptz[], $9::text[]) WITH ORDINALITY
       AS new (file_id, file_name, mime_type, checksum, size_bytes, modified_at, content_ref, place)
 WHERE NOT EXISTS (
        SELECT FROM folders AS f
         WHERE f.user_id = $1 AND f.parent_id = $2 AND f.trashed_at IS NULL
           AND shardrive.entry_key(f.folder_name) = shardrive.entry_key(new.file_name)
       )
 ORDER BY new.place
ON CONFLICT DO NOTHING
RETURNING file_id
