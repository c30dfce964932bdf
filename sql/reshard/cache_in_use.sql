-- May some process still rely on a cache for this shard's rows? Not once the fence has been closed for longer than it must be.
SELECT server IS NOT NULL OR closed_until > clock_timestamp() FROM shardrive.cache_fence
