-- An open move with one of these slots.
SELECT m.id, slot
  FROM shardrive.moves AS m, unnest(m.slots) AS slot
 WHERE m.stage NOT IN ('done', 'cancelled', 'rolled_back', 'failed') AND slot = ANY ($1)
 LIMIT 1
