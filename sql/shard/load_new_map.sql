-- The version of this shard's copy of the slot map; and the copy, in the order of the slots, unless its version is $1.
SELECT fence.map_version, map.owners, map.epochs
  FROM shardrive.cache_fence AS fence
 CROSS JOIN LATERAL (
       SELECT array_agg(owner) AS owners, array_agg(epoch) AS epochs
         FROM (
              SELECT owner, epoch
                FROM shardrive.slot_map
               WHERE fence.map_version IS DISTINCT FROM $1
               ORDER BY slot
              ) AS slots
       ) AS map
