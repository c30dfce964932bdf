-- The moves that this shard takes part in, or still has changed keys or heartbeats of.
SELECT move_id FROM shardrive.local_moves
 UNION SELECT move_id FROM shardrive.changed_keys
 UNION SELECT move_id FROM shardrive.heartbeats
