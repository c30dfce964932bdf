-- The numbers of the moves that have not ended.
SELECT id
  FROM shardrive.moves
 WHERE stage NOT IN ('done', 'cancelled', 'rolled_back', 'failed')
 ORDER BY id
