-- Deletes a document, if its version is $5 (null: any). No row: the shard does not own the slot. found: the version
-- before the deletion.
WITH owned AS (
    SELECT slot FROM shardrive.slot_map WHERE slot = $3 AND owner = $4
), present AS (
    SELECT r.version
      FROM records AS r, owned
     WHERE r.collection = $1 AND r.key = $2 AND r.slot = owned.slot
       FOR UPDATE OF r
), deleted AS (
    DELETE FROM records AS r
     USING present
     WHERE r.collection = $1 AND r.key = $2 AND r.slot = $3
       AND ($5::bigint IS NULL OR present.version = $5)
    RETURNING r.version
)
SELECT present.version AS found, deleted.version IS NOT NULL AS deleted
  FROM owned
  LEFT JOIN present ON true
  LEFT JOIN deleted ON true
