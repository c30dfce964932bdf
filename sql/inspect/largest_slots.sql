-- The twenty fullest slots of this shard, by the kept counts: what a move would have to carry.
SELECT t.slot, t.rows AS files, pg_size_pretty(t.bytes) AS size
  FROM shardrive.slot_totals AS t
  JOIN shardrive.slot_map AS m USING (slot)
  JOIN shardrive.identity AS i ON i.shard_id = m.owner
 WHERE t.rows > 0
 ORDER BY t.rows DESC, t.slot
 LIMIT 20;
