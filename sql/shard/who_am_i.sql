-- Which shard of which cluster this database is, and how far it is migrated.
SELECT cluster_id, shard_id,
       (SELECT max(version) FROM shardrive._sqlx_migrations WHERE success) AS schema_version
  FROM shardrive.identity
 WHERE ready
