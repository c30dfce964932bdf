-- How far a standby has come, and on which timeline: that of the stream, or, if there is none or the role may not see it, that
-- of the last restart point, which follows later. No row if it is no standby any more.
SELECT coalesce((SELECT received_tli FROM pg_stat_wal_receiver),
                (SELECT timeline_id FROM pg_control_checkpoint()))       AS timeline,
       (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint                AS position
 WHERE pg_is_in_recovery()
