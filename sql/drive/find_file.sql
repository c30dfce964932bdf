-- Where a user's file stands, also in the trash. No row: no such file.
SELECT folder_id AS folder, file_name AS name, trashed_at IS NOT NULL AS is_trashed
  FROM file_metadata
 WHERE user_id = $1 AND file_id = $2
