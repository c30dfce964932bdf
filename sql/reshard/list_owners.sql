-- Who owns these slots, as this shard's map says, each owner once.
SELECT owner, max(epoch)
  FROM shardrive.slot_map
 WHERE slot = ANY ($1)
 GROUP BY owner
