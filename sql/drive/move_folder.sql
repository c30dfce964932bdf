-- Gives a folder another parent ($3) and another name ($4): one row, whatever is below.
UPDATE folders SET parent_id = $3, folder_name = $4 WHERE user_id = $1 AND folder_id = $2
