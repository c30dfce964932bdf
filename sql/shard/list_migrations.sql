-- The migrations that this database has.
SELECT version, checksum, success, description
  FROM shardrive._sqlx_migrations
 ORDER BY version
