-- The migrations of this database.
SELECT version, checksum, success, description
  FROM shardrive._sqlx_migrations
 ORDER BY version
