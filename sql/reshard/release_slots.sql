-- The slots may be written to again.
WITH mine AS MATERIALIZED (SELECT shardrive.check_fence($2))
UPDATE shardrive.local_moves SET held = false FROM mine WHERE move_id = $1
