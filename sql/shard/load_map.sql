-- This shard's copy of the slot map, in the order of the slots.
SELECT array_agg(owner ORDER BY slot) AS owners,
       array_agg(epoch ORDER BY slot) AS epochs
  FROM shardrive.slot_map
