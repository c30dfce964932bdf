-- Closes the fence that is still as $1 says, or keeps it closed: nobody uses a cache for the next seconds.
UPDATE shardrive.cache_fence
   SET generation   = generation + CASE WHEN server IS NULL THEN 0 ELSE 1 END,
       server       = NULL,
       closed_until = clock_timestamp() + interval '2 seconds'
 WHERE generation = $1
