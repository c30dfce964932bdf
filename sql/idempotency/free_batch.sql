-- Removes those of these keys that are too old to count, so that they can be used again before their turn comes. Keys in
-- slots that this shard does not own stay: a move removes them.
DELETE FROM shardrive.idempotency_keys AS k
 USING unnest($1::int[], $2::uuid[]) AS wanted (slot, key)
 WHERE get_bit((SELECT owned FROM shardrive.coverage), wanted.slot) = 1
   AND k.slot = wanted.slot AND k.key = wanted.key AND k.created_at <= now() - interval '24 hours'
