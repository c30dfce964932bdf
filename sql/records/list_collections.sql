-- Every collection that this shard knows.
SELECT name, shard_key, key_type, records_per_key
  FROM shardrive.collections
 ORDER BY name
