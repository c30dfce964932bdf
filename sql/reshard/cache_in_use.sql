-- Whether a process may still rely on a cache for this shard's rows: until the fence has been closed for its full time.
SELECT server IS NOT NULL OR closed_until > clock_timestamp() FROM shardrive.cache_fence
