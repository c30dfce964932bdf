-- How many slots each shard owns by this shard's copy of the map, and whether this is the shard asked. The epochs
-- show the last change.
SELECT m.owner                 AS shard_id,
       m.owner = i.shard_id    AS is_this_shard,
       count(*)                AS slots,
       round(100.0 * count(*) / 5040, 2) AS percent,
       min(m.epoch)            AS oldest_epoch,
       max(m.epoch)            AS newest_epoch
  FROM shardrive.slot_map AS m
 CROSS JOIN shardrive.identity AS i
 GROUP BY m.owner, i.shard_id
 ORDER BY m.owner;
