-- From the commit on nobody begins to write to the slots of the move.
WITH mine AS MATERIALIZED (SELECT shardrive.check_fence($2))
UPDATE shardrive.local_moves SET held = true FROM mine WHERE move_id = $1
