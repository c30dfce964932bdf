-- True if the database has a list of shards; a database of an earlier release may have none.
SELECT to_regclass('shardrive.shards') IS NOT NULL
