-- From now on the database serves: all shards of the cluster have their identity.
UPDATE shardrive.identity SET ready = true WHERE NOT ready
