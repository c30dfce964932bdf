-- On a standby: removes the logical slots whose names begin with $1, except the slots in $2 and slots in use; returns
-- the names, and how many bytes of log each slot kept. Since PostgreSQL 17 the slots that a standby copies from its
-- primary go by themselves.
WITH found AS MATERIALIZED (
    SELECT s.slot_name, coalesce(pg_wal_lsn_diff(pg_last_wal_replay_lsn(), s.restart_lsn), 0)::bigint AS kept
      FROM pg_replication_slots AS s
     WHERE pg_is_in_recovery()
       AND s.slot_type = 'logical'
       AND NOT s.active
       AND starts_with(s.slot_name::text, $1)
       AND s.slot_name <> ALL ($2::text[])
       AND NOT coalesce((to_jsonb(s) ->> 'synced')::boolean, false)
)
SELECT slot_name::text, kept FROM found, LATERAL pg_drop_replication_slot(slot_name)
