-- Which of these slots this shard ($2) does not own.
SELECT wanted.slot
  FROM unnest($1::int[]) AS wanted (slot)
 WHERE NOT EXISTS (SELECT FROM shardrive.slot_map AS m WHERE m.slot = wanted.slot AND m.owner = $2)
