-- Puts a folder into the trash, and with it all that is below: one row. No row: the folder is in the trash already.
UPDATE folders SET trashed_at = now() WHERE user_id = $1 AND folder_id = $2 AND trashed_at IS NULL RETURNING folder_id
