-- Puts a file into the trash. No row: there is no such file, or the file is in the trash already.
UPDATE file_metadata SET trashed_at = now() WHERE user_id = $1 AND file_id = $2 AND trashed_at IS NULL RETURNING file_id
