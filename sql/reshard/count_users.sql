-- How many users with rows there are in each slot that this shard owns; reads the index of all rows.
SELECT m.slot, count(*)
  FROM (SELECT DISTINCT user_id FROM file_metadata) AS users
  JOIN shardrive.slot_map AS m ON m.slot = shardrive.slot_of(user_id)
 WHERE m.owner = (SELECT shard_id FROM shardrive.identity)
 GROUP BY m.slot
