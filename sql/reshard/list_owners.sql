-- The owners of these slots by this shard's map, each owner once.
SELECT owner, max(epoch)
  FROM shardrive.slot_map
 WHERE slot = ANY ($1)
 GROUP BY owner
