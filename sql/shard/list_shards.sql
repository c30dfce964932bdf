-- Which shards there are, and where; also those that are still being added.
SELECT shard_id, url, active
  FROM shardrive.shards
 ORDER BY shard_id
