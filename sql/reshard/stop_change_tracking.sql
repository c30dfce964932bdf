-- This shard takes no part in the move any more.
DELETE FROM shardrive.local_moves WHERE move_id = $1
