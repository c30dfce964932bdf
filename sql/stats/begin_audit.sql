-- A single snapshot of the shard for `shards verify`.
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY
