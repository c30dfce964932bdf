-- Skips all log until now, which the reader of this slot does not need.
SELECT pg_replication_slot_advance(slot_name, pg_current_wal_flush_lsn())
  FROM pg_replication_slots
 WHERE slot_name = $1 AND NOT active AND confirmed_flush_lsn < pg_current_wal_flush_lsn()
