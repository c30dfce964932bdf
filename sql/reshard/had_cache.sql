-- Was there ever a cache for this shard's rows?
SELECT generation > 0 FROM shardrive.cache_fence
