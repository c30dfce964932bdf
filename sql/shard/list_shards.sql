-- All shards with address, also shards still being added.
SELECT shard_id, url, active
  FROM shardrive.shards
 ORDER BY shard_id
