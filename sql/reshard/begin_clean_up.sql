-- In this transaction only rows of slots that the shard does not own may be deleted; in the order of their keys, all of
-- one batch by the index.
SELECT set_config('shardrive.clean_up', 'on', true)
