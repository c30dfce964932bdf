-- These changes have been compared. What a crash brings back is compared again.
WITH lazily AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
DELETE FROM shardrive.changed_keys USING lazily WHERE id = ANY ($1)
