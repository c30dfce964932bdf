-- The shard neither owns these slots nor has rows of them; a slot that it owns by now is left alone.
SELECT shardrive.set_counts($1::regclass, $2::regclass, array_agg(s.slot), array_agg(s.zero), array_agg(s.zero))
  FROM unnest($3::int[], $4::bigint[]) AS s (slot, zero)
  JOIN shardrive.slot_map AS m USING (slot)
 WHERE m.owner <> (SELECT shard_id FROM shardrive.identity)
HAVING count(*) > 0
