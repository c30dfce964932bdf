-- Ends the write freeze. The commit does not wait for the disk: a crash may bring the freeze back, and the coordinator
-- ends the freeze again.
WITH mine AS MATERIALIZED (SELECT shardrive.check_coordinator_fence($2), set_config('synchronous_commit', 'off', true))
UPDATE shardrive.local_moves SET frozen = false FROM mine WHERE move_id = $1
