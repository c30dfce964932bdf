-- The slots may be written to again, before the disk knows: after a crash they are held once more, and released again.
WITH mine AS MATERIALIZED (SELECT shardrive.check_fence($2), set_config('synchronous_commit', 'off', true))
UPDATE shardrive.local_moves SET held = false FROM mine WHERE move_id = $1
