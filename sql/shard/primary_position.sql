-- How far the primary has written, and on which timeline. No row on a standby.
SELECT ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int AS timeline,
       (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint                        AS position
 WHERE NOT pg_is_in_recovery()
