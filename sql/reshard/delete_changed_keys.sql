-- The recorded changes of a move are not needed any more.
DELETE FROM shardrive.changed_keys WHERE move_id = $1
