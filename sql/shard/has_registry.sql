-- Databases that an earlier release made have no list of the shards yet.
SELECT to_regclass('shardrive.shards') IS NOT NULL
