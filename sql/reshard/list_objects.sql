-- What there may be of a move: subscriptions before the slots that they read, and those before the publications.
SELECT shard, kind, name
  FROM shardrive.move_objects
 WHERE move_id = $1
 ORDER BY array_position(ARRAY['subscription', 'slot', 'publication'], kind), shard
