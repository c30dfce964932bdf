-- Opens the closed fence that is still as $1 says for the cache server $2, unless somebody keeps it closed.
UPDATE shardrive.cache_fence
   SET generation = generation + 1, server = $2
 WHERE generation = $1 AND server IS NULL AND closed_until <= clock_timestamp()
