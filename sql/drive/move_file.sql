-- Gives a user's file another folder ($3; NULL: no folder) and another name ($4).
UPDATE file_metadata SET folder_id = $3, file_name = $4 WHERE user_id = $1 AND file_id = $2
