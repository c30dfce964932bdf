-- The shards from number $1 on with address, also shards still being added.
SELECT shard_id, url, active
  FROM shardrive.shards
 WHERE shard_id >= $1
 ORDER BY shard_id
