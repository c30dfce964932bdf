-- Keeps the answer of an act.
UPDATE shardrive.admin_keys SET status = $2, body = $3 WHERE key = $1
