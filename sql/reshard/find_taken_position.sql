-- The position of this shard's log at which the shard took the slots of a move.
SELECT taken_lsn::text FROM shardrive.local_moves WHERE move_id = $1
