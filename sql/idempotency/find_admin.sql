-- What is kept of an act.
SELECT request, status, body FROM shardrive.admin_keys WHERE key = $1
