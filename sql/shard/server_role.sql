-- The server's history, and whether the server takes writes. A standby has no timeline of its own.
SELECT (SELECT system_identifier FROM pg_control_system())                                          AS system,
       CASE WHEN NOT pg_is_in_recovery()
            THEN ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END          AS timeline,
       current_setting('transaction_read_only')::boolean                                            AS read_only
