-- An act that was refused and has changed nothing: its key is free again.
DELETE FROM shardrive.admin_keys WHERE key = $1 AND status IS NULL
