-- Makes a new database a shard of a cluster that is being set up. Nothing happens where it is one already.
INSERT INTO shardrive.identity (cluster_id, shard_id, shard_count)
VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING
