-- The next events, in their order.
SELECT id, slot, kind, user_id, file_id, size_bytes, collection, key, shard_key, version, at
  FROM shardrive.outbox
 ORDER BY id
 LIMIT $1
