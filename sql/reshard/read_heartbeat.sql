-- The last heartbeat that arrived.
SELECT max(number) FROM shardrive.heartbeats WHERE move_id = $1 AND direction = $2
