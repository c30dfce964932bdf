-- The first users of the slots that this shard owns, one step in the index for each.
WITH RECURSIVE users AS (
    (SELECT user_id FROM file_metadata ORDER BY user_id LIMIT 1)
    UNION ALL
    SELECT (SELECT f.user_id FROM file_metadata AS f WHERE f.user_id > users.user_id ORDER BY f.user_id LIMIT 1)
      FROM users
     WHERE users.user_id IS NOT NULL
)
SELECT user_id
  FROM users
  JOIN shardrive.slot_map AS m ON m.slot = shardrive.slot_of(user_id)
 WHERE m.owner = (SELECT shard_id FROM shardrive.identity)
 LIMIT $1
