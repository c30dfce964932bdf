-- Rows on this shard whose slot another shard owns: copies in transit while slots move, or left to be cleaned up.
-- They count nowhere. No line means that there are none.
SELECT m.owner AS counts_on_shard, count(*) AS files, count(DISTINCT f.user_id) AS users, count(DISTINCT m.slot) AS slots
  FROM file_metadata AS f
  JOIN shardrive.slot_map AS m ON m.slot = shardrive.slot_of(f.user_id)
 CROSS JOIN shardrive.identity AS i
 WHERE m.owner <> i.shard_id
 GROUP BY m.owner
 ORDER BY m.owner;
