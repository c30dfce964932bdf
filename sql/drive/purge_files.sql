-- Deletes files of a user's trash for good, of these ids ($4) at most $5. No row: the shard does not own the slot. One
-- row: how many.
WITH owned AS (
    SELECT slot FROM shardrive.slot_map WHERE slot = $1 AND owner = $2
), chosen AS (
    SELECT id FROM owned CROSS JOIN unnest($4::uuid[]) AS ids (id) LIMIT $5
), gone AS (
    DELETE FROM file_metadata AS f
     USING chosen
     WHERE f.user_id = $3 AND f.file_id = chosen.id AND f.trashed_at IS NOT NULL
    RETURNING true
)
SELECT (SELECT count(*) FROM gone) FROM owned
