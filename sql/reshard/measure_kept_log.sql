-- The bytes of the log that a slot keeps; null if the server has given them up.
SELECT CASE WHEN wal_status <> 'lost' THEN pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint END
  FROM pg_replication_slots
 WHERE slot_name = $1
