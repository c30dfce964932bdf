-- Stores a batch of files, each once, in the folders that place_batch has found or made. The answer leaves out rows
-- whose user has the id already, and rows whose folder has the name already.
INSERT INTO file_metadata (user_id, file_id, file_name, folder_id, mime_type, checksum, size_bytes, modified_at, content_ref)
SELECT user_id, file_id, file_name, folder_id, mime_type, checksum, size_bytes, modified_at, content_ref
  FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::bigint[], $8::timestamptz[],
              $9::text[])
    AS b (user_id, file_id, file_name, folder_id, mime_type, checksum, size_bytes, modified_at, content_ref)
ON CONFLICT DO NOTHING
RETURNING user_id, file_id, created_at, folder_id
