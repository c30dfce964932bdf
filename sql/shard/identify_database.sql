-- This database's shard and cluster, its newest migration and, on a primary, its history.
SELECT cluster_id, shard_id,
       (SELECT max(version) FROM shardrive._sqlx_migrations WHERE success)                          AS schema_version,
       (SELECT system_identifier FROM pg_control_system())                                          AS system,
       CASE WHEN NOT pg_is_in_recovery()
            THEN ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END          AS timeline
  FROM shardrive.identity
 WHERE ready
