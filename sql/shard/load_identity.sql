-- Which shard of which cluster this database is, also while the cluster is being set up.
SELECT cluster_id, shard_id, shard_count, ready
  FROM shardrive.identity
