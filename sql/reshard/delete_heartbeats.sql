-- The heartbeats of a move are not needed any more.
DELETE FROM shardrive.heartbeats WHERE move_id = $1
