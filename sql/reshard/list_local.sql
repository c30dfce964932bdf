-- The moves that this shard takes part in.
SELECT move_id FROM shardrive.local_moves
