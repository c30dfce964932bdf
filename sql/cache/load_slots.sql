-- This shard's copy of the slot map, in the order of the slots, with the epochs before, where they are known.
SELECT array_agg(owner) AS owners, array_agg(epoch) AS epochs, array_agg(previous_epoch) AS previous
  FROM (SELECT owner, epoch, previous_epoch FROM shardrive.slot_map ORDER BY slot) AS slots
