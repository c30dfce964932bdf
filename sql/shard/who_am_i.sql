-- Which shard of which cluster this database is.
SELECT cluster_id, shard_id
  FROM shardrive.identity
 WHERE ready
