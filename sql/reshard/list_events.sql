-- The events of a move.
SELECT at, stage, what
  FROM shardrive.move_events
 WHERE move_id = $1
 ORDER BY id
