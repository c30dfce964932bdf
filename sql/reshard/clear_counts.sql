-- Clears the counts of slots whose rows are removed. A slot that the shard owns again keeps its counts.
SELECT shardrive.set_counts($1::regclass, $2::regclass, array_agg(s.slot), array_agg(s.zero), array_agg(s.zero))
  FROM unnest($3::int[], $4::bigint[]) AS s (slot, zero)
  JOIN shardrive.slot_map AS m USING (slot)
 WHERE m.owner <> (SELECT shard_id FROM shardrive.identity)
HAVING count(*) > 0
