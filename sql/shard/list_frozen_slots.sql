-- The slots whose writes this shard refuses for the moment of a handover: one mask of 5,040 bits for each of the moves.
SELECT slots FROM shardrive.local_moves WHERE frozen
