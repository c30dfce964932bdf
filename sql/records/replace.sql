-- Replaces a present document, if its version is $6 (null: any) and the shard key stays. No row: the shard does not
-- own the slot. found: the version before. version: the new version, if the document was replaced.
WITH owned AS (
    SELECT slot FROM shardrive.slot_map WHERE slot = $3 AND owner = $7
), present AS (
    SELECT r.version, r.shard_key
      FROM records AS r, owned
     WHERE r.collection = $1 AND r.key = $2 AND r.slot = owned.slot
       FOR UPDATE OF r
), replaced AS (
    UPDATE records AS r
       SET document = $5::text::json, version = greatest(r.version + 1, shardrive.clock_micros()), updated_at = now()
      FROM present
     WHERE r.collection = $1 AND r.key = $2 AND r.slot = $3
       AND ($6::bigint IS NULL OR present.version = $6)
       AND present.shard_key IS NOT DISTINCT FROM $4
    RETURNING r.version, r.created_at, r.updated_at
)
SELECT present.version AS found, present.shard_key, replaced.version, replaced.created_at, replaced.updated_at
  FROM owned
  LEFT JOIN present ON true
  LEFT JOIN replaced ON true
