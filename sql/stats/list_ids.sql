-- Every id of this shard, in order, to be compared with the other shards' ids; without the rows that a move has brought
-- already, or has not removed yet.
SELECT f.file_id, f.user_id
  FROM file_metadata AS f
 WHERE NOT EXISTS (
        SELECT FROM shardrive.local_moves AS l
          JOIN shardrive.slot_map AS m ON m.slot = shardrive.slot_of(f.user_id)
         WHERE get_bit(l.slots, m.slot) = 1 AND m.owner <> (SELECT shard_id FROM shardrive.identity)
       )
 ORDER BY f.file_id
