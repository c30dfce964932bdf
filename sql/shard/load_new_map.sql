-- The version of this shard's copy of the slot map; the last shard that this one lists and that may be used; and the
-- copy, in the order of the slots, unless its version is $1.
SELECT fence.map_version, (SELECT max(shard_id) FROM shardrive.shards WHERE active) AS last_shard, map.owners, map.epochs
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
