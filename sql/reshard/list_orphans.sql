-- The recorded objects on a shard whose move has ended: subscriptions before slots before publications.
SELECT o.kind, o.name
  FROM shardrive.move_objects AS o
  JOIN shardrive.moves AS m ON m.id = o.move_id
 WHERE o.shard = $1 AND m.stage IN ('done', 'cancelled', 'rolled_back', 'failed')
 ORDER BY array_position(ARRAY['subscription', 'slot', 'publication'], o.kind)
