-- Removes compared changes. Changes that a crash brings back are compared again.
WITH lazily AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
DELETE FROM shardrive.changed_keys USING lazily WHERE id = ANY ($1)
