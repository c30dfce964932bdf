-- How far a standby has replayed, and on which timeline. The timeline is the stream's. Without a visible stream it is
-- the last restart point's, which changes later. No row on a primary.
SELECT coalesce((SELECT received_tli FROM pg_stat_wal_receiver),
                (SELECT timeline_id FROM pg_control_checkpoint()))       AS timeline,
       (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint                AS position
 WHERE pg_is_in_recovery()
