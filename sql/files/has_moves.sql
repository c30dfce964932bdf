-- Whether this shard takes part in a move.
SELECT EXISTS (SELECT FROM shardrive.local_moves)
