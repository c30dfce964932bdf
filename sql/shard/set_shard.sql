-- Stores a shard's address. An active shard stays active.
INSERT INTO shardrive.shards (shard_id, url, active)
VALUES ($1, $2, $3)
ON CONFLICT (shard_id) DO UPDATE SET url = EXCLUDED.url, active = shards.active OR EXCLUDED.active
WHERE (shards.url, shards.active) IS DISTINCT FROM (EXCLUDED.url, shards.active OR EXCLUDED.active)
