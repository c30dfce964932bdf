-- This shard's copy of the slot map, in the order of the slots.
SELECT array_agg(owner) AS owners, array_agg(epoch) AS epochs
  FROM (SELECT owner, epoch FROM shardrive.slot_map ORDER BY slot) AS slots
