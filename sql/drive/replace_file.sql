-- Gives a user's file another content.
UPDATE file_metadata
   SET mime_type = $3, checksum = $4, size_bytes = $5, modified_at = $6, content_ref = $7
 WHERE user_id = $1 AND file_id = $2
