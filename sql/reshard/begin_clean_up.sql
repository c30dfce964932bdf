-- In this transaction only rows of slots that the shard does not own may be deleted.
SELECT set_config('shardrive.clean_up', 'on', true)
