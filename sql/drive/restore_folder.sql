-- Takes a folder out of the trash, under this parent ($3) and this name ($4), unless a purge has begun with it.
UPDATE folders SET trashed_at = NULL, parent_id = $3, folder_name = $4 WHERE user_id = $1 AND folder_id = $2 AND trashed_at IS DISTINCT FROM '-infinity'
