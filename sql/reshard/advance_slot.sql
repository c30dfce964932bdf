-- Skips the log before the place where the reader of a slot begins.
SELECT pg_replication_slot_advance(slot_name, $2::pg_lsn)
  FROM pg_replication_slots
 WHERE slot_name = $1 AND NOT active AND confirmed_flush_lsn < $2::pg_lsn
