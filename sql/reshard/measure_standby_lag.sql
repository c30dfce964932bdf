-- Bytes of the log by which the server's slowest standby is behind. Readers of logical streams are no standbys.
SELECT coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), r.replay_lsn)), 0)::bigint
  FROM pg_stat_replication AS r
 WHERE r.state = 'streaming'
   AND NOT EXISTS (SELECT FROM pg_replication_slots AS s WHERE s.active_pid = r.pid AND s.slot_type = 'logical')
