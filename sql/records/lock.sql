-- A document before its change, and the shard key; the transaction holds the document against other changes. No row:
-- the shard does not own the slot. A row of nulls: no such document.
WITH owned AS (
    SELECT slot FROM shardrive.slot_map WHERE slot = $3 AND owner = $4
), present AS (
    SELECT r.document, r.version, r.created_at, r.updated_at, r.shard_key
      FROM records AS r, owned
     WHERE r.collection = $1 AND r.key = $2 AND r.slot = owned.slot
       FOR UPDATE OF r
)
SELECT present.*
  FROM owned
  LEFT JOIN present ON true
