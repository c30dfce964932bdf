-- As find, for several keys at once: with their slots and keys. A key in a slot that this shard does not own is given
-- with nulls, whatever the shard still has of it.
SELECT wanted.slot, wanted.key, k.request, k.shard_id, k.outcome
  FROM unnest($1::int[], $2::uuid[]) AS wanted (slot, key)
  LEFT JOIN shardrive.slot_map AS m ON m.slot = wanted.slot AND m.owner = $3
  LEFT JOIN shardrive.idempotency_keys AS k
    ON k.slot = m.slot AND k.key = wanted.key AND k.created_at > now() - interval '24 hours'
 WHERE m.slot IS NULL OR k.key IS NOT NULL
