-- As find, for several keys at once: with their slots and keys. A key in a slot that this shard does not own is given
-- with nulls, whatever the shard still has of it.
SELECT wanted.slot, wanted.key, k.request, k.shard_id, k.outcome
  FROM unnest($1::int[], $2::uuid[]) AS wanted (slot, key)
 CROSS JOIN LATERAL (SELECT get_bit((SELECT owned FROM shardrive.coverage), wanted.slot) = 1 AS is_ours) AS checked
  LEFT JOIN shardrive.idempotency_keys AS k
    ON checked.is_ours AND k.slot = wanted.slot AND k.key = wanted.key AND k.created_at > now() - interval '24 hours'
 WHERE NOT checked.is_ours OR k.key IS NOT NULL
