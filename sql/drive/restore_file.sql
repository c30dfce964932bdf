-- Takes a file out of the trash, into this folder ($3; NULL: no folder) and under this name ($4).
UPDATE file_metadata SET trashed_at = NULL, folder_id = $3, file_name = $4 WHERE user_id = $1 AND file_id = $2
