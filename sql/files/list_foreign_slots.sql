-- Which of these slots this shard does not own.
SELECT wanted.slot
  FROM unnest($1::int[]) AS wanted (slot)
 WHERE get_bit((SELECT owned FROM shardrive.coverage), wanted.slot) = 0
