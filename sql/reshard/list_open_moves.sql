-- The moves that have not ended, oldest first.
SELECT *
  FROM shardrive.moves
 WHERE stage NOT IN ('done', 'cancelled', 'rolled_back', 'failed')
 ORDER BY id
