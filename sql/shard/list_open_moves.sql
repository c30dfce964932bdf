-- The numbers of the open moves.
SELECT id
  FROM shardrive.moves
 WHERE stage NOT IN ('done', 'cancelled', 'rolled_back', 'failed')
 ORDER BY id
