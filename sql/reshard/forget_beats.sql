-- The beats of a move are not needed any more.
DELETE FROM shardrive.beats WHERE move_id = $1
