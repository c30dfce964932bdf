-- From the commit on no write to the slots of the move begins. The commit does not wait for the disk: the next
-- heartbeat does.
WITH mine AS MATERIALIZED (SELECT shardrive.check_coordinator_fence($2), set_config('synchronous_commit', 'off', true))
UPDATE shardrive.local_moves SET frozen = true FROM mine WHERE move_id = $1
