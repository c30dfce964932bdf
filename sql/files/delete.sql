-- Deletes a user's file; true if there was such a file. No row: the shard does not own the slot. With a state ($5), a
-- file in another state counts as missing.
WITH owned AS (
    SELECT slot FROM shardrive.slot_map WHERE slot = $1 AND owner = $2
), deleted AS (
    DELETE FROM file_metadata AS f
     USING owned
     WHERE f.user_id = $3 AND f.file_id = $4 AND ($5::text IS NULL OR f::text = $5)
    RETURNING true
)
SELECT EXISTS (SELECT FROM deleted)
  FROM owned
