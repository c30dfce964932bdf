-- A subscription that has not begun will begin here.
SELECT pg_replication_origin_advance('pg_' || s.oid, $2::pg_lsn)
  FROM pg_subscription AS s
 WHERE s.subname = $1 AND NOT s.subenabled
   AND s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND coalesce(pg_replication_origin_progress('pg_' || s.oid, false), '0/0') < $2::pg_lsn
