-- The number of a subscription of this database.
SELECT oid::bigint
  FROM pg_subscription
 WHERE subname = $1 AND subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
