-- The latest moves, newest first.
SELECT *
  FROM shardrive.moves
 ORDER BY id DESC
 LIMIT $1
