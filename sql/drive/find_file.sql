-- Where a user's file stands: its folder, its name, and whether the file was put into the trash itself. No row: no such file.
SELECT folder_id, file_name, trashed_at IS NOT NULL FROM file_metadata WHERE user_id = $1 AND file_id = $2
