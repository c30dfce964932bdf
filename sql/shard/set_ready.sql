-- From now on the database serves: all shards of the cluster have an identity.
UPDATE shardrive.identity SET ready = true WHERE NOT ready
