-- The reverse stream begins where this shard took the slots.
SELECT pg_replication_slot_advance(s.slot_name, m.taken_lsn)
  FROM pg_replication_slots AS s, shardrive.local_moves AS m
 WHERE s.slot_name = $1 AND m.move_id = $2 AND NOT s.active AND s.confirmed_flush_lsn < m.taken_lsn
