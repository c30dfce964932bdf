-- Where the log of this shard was when it took the slots of a move.
SELECT taken_lsn::text FROM shardrive.local_moves WHERE move_id = $1
