-- How many of these transactions still have the writers' lock.
SELECT count(*)
  FROM pg_locks
 WHERE locktype = 'advisory' AND classid = 5040 AND objid = 1 AND objsubid = 2 AND granted
   AND virtualtransaction = ANY ($1)
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
