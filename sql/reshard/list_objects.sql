-- The recorded objects of a move: subscriptions before slots before publications.
SELECT shard, kind, name
  FROM shardrive.move_objects
 WHERE move_id = $1
 ORDER BY array_position(ARRAY['subscription', 'slot', 'publication'], kind), shard
