-- The cluster has grown to this many shards.
UPDATE shardrive.identity SET shard_count = $1 WHERE shard_count < $1
