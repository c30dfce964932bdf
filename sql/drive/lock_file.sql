-- Keeps a user's file as it is until the end of the transaction.
SELECT FROM file_metadata WHERE user_id = $1 AND file_id = $2 FOR UPDATE
