-- A document by its key. No row: the shard does not own the slot. A row of nulls: no such document.
SELECT r.document, r.version, r.created_at, r.updated_at
  FROM shardrive.slot_map AS m
  LEFT JOIN records AS r ON r.collection = $1 AND r.key = $2 AND r.slot = m.slot
 WHERE m.slot = $3 AND m.owner = $4
