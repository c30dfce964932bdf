-- A collection by its name.
SELECT name, shard_key, key_type, records_per_key
  FROM shardrive.collections
 WHERE name = $1
