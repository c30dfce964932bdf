-- The moves that this shard takes part in, or that it still has notes of.
SELECT move_id FROM shardrive.local_moves
 UNION SELECT move_id FROM shardrive.changed_keys
 UNION SELECT move_id FROM shardrive.beats
