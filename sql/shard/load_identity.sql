-- This database's shard and cluster, also while the cluster is being set up.
SELECT cluster_id, shard_id, shard_count, ready
  FROM shardrive.identity
