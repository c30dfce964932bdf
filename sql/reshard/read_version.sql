-- The number of the newest change on this shard.
SELECT last_value FROM shardrive.version
