-- Closes the fence if its generation is still $1, or keeps the fence closed: nobody uses a cache for the next seconds.
UPDATE shardrive.cache_fence
   SET generation   = generation + CASE WHEN server IS NULL THEN 0 ELSE 1 END,
       server       = NULL,
       closed_until = clock_timestamp() + interval '2 seconds'
 WHERE generation = $1
