-- What is kept for a key and not too old to count. No row: the shard does not own the slot. A row of nulls: nothing is
-- kept.
SELECT k.request, k.shard_id, k.outcome
  FROM shardrive.slot_map AS m
  LEFT JOIN shardrive.idempotency_keys AS k
    ON k.slot = m.slot AND k.key = $2 AND k.created_at > now() - interval '24 hours'
 WHERE m.slot = $1 AND m.owner = $3
