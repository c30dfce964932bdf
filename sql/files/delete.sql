-- Deletes a file; gives whose it was. No row: the shard does not own the slot. null: no such file.
-- With a user ($4), a file of another one is as one that is not there; with a state ($5), so is a file in another state.
WITH owned AS (
    SELECT slot FROM shardrive.slot_map WHERE slot = $1 AND owner = $2
), deleted AS (
    DELETE FROM file_metadata AS f
     USING owned
     WHERE f.file_id = $3 AND shardrive.slot_of(f.user_id) = owned.slot
       AND ($4::bigint IS NULL OR f.user_id = $4)
       AND ($5::text IS NULL OR f::text = $5)
    RETURNING f.user_id
)
SELECT d.user_id
  FROM owned
  LEFT JOIN deleted AS d ON true
