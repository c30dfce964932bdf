-- Deletes folders of a user's trash ($4) for good, with all that is below, from the bottom up: at most $5 rows. No row:
-- the shard does not own the slot. One row: how many.
SELECT shardrive.purge_folders($3, $4, $5)::bigint FROM shardrive.slot_map WHERE slot = $1 AND owner = $2
