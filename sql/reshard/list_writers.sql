-- The transactions with the writers' lock (enter_write).
SELECT virtualtransaction
  FROM pg_locks
 WHERE locktype = 'advisory' AND classid = 5040 AND objid = 1 AND objsubid = 2 AND mode = 'ShareLock' AND granted
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
