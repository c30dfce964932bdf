-- Makes a new database a shard of a cluster. Changes nothing if the database is a shard already.
INSERT INTO shardrive.identity (cluster_id, shard_id, shard_count)
VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING
