-- As find, for several keys at once; with their slots and keys.
SELECT k.slot, k.key, k.request, k.shard_id, k.outcome
  FROM unnest($1::int[], $2::uuid[]) AS wanted (slot, key)
  JOIN shardrive.idempotency_keys AS k USING (slot, key)
  JOIN shardrive.slot_map AS m ON m.slot = k.slot AND m.owner = $3
 WHERE k.created_at > now() - interval '24 hours'
