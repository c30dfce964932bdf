-- Stores one file as insert_batch stores many: without arrays the statement takes less time.
INSERT INTO file_metadata (user_id, file_id, file_name, folder_id, mime_type, checksum, size_bytes, modified_at, content_ref)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT DO NOTHING
RETURNING user_id, file_id, created_at, folder_id
