-- Opens the closed fence for the cache server $2 if the generation is still $1, unless a process keeps the fence
-- closed.
UPDATE shardrive.cache_fence
   SET generation = generation + 1, server = $2
 WHERE generation = $1 AND server IS NULL AND closed_until <= clock_timestamp()
