-- Declares a collection, unless it is declared already.
INSERT INTO shardrive.collections (name, shard_key, key_type, records_per_key)
VALUES ($1, $2, $3, $4)
    ON CONFLICT (name) DO NOTHING
