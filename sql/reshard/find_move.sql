-- One move.
SELECT *
  FROM shardrive.moves
 WHERE id = $1
