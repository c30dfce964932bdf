-- This shard takes part in a move no longer.
DELETE FROM shardrive.local_moves WHERE move_id = $1
