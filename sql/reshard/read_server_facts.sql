-- The free resources of a server, and its settings, as a move needs them.
SELECT current_setting('wal_level')                                                                    AS wal_level,
       current_setting('max_replication_slots')::bigint - (SELECT count(*) FROM pg_replication_slots)  AS free_slots,
       current_setting('max_wal_senders')::bigint - (SELECT count(*) FROM pg_stat_replication)         AS free_senders,
       current_setting('max_connections')::bigint
           - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')             AS free_connections,
       least(current_setting('max_logical_replication_workers')::bigint, current_setting('max_worker_processes')::bigint - 1)
           - (SELECT count(*) FROM pg_stat_subscription WHERE pid IS NOT NULL)                         AS free_workers,
       (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user)                  AS may_replicate,
       has_function_privilege('pg_replication_origin_advance(text, pg_lsn)', 'execute')                AS may_advance,
       current_setting('max_slot_wal_keep_size')                                                       AS kept_wal,
       extract(epoch FROM clock_timestamp())::double precision                                         AS now,
       pg_is_in_recovery()                                                                             AS is_standby
