-- From the commit on nobody begins to write to the slots of the move. It does not wait for the disk: the beat that follows does.
WITH mine AS MATERIALIZED (SELECT shardrive.check_fence($2), set_config('synchronous_commit', 'off', true))
UPDATE shardrive.local_moves SET held = true FROM mine WHERE move_id = $1
