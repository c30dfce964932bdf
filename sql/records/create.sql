-- Stores a document under a key that must be free. No row: the key is taken. The guard refuses a foreign slot.
INSERT INTO records (collection, key, slot, shard_key, document)
VALUES ($1, $2, $3, $4, $5::text::json)
    ON CONFLICT (collection, key, slot) DO NOTHING
RETURNING version, created_at, updated_at
