-- Stores a document under a key that must be free. A row of nulls: the key is taken. No row: this shard ($6) does not own
-- the slot, and a document under the key is not its own.
WITH created AS (
    INSERT INTO records (collection, key, slot, shard_key, document)
    VALUES ($1, $2, $3, $4, $5::text::json)
        ON CONFLICT (collection, key, slot) DO NOTHING
    RETURNING version, created_at, updated_at
)
SELECT c.version, c.created_at, c.updated_at
  FROM shardrive.slot_map AS m
  LEFT JOIN created AS c ON true
 WHERE m.slot = $3 AND m.owner = $6
