-- As expire, of the acts on the cluster.
DELETE FROM shardrive.admin_keys WHERE created_at <= now() - interval '24 hours'
