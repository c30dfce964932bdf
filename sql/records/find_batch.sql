-- Several documents by their keys. A key without a row in the answer is one whose slot the shard does not own; a row of
-- nulls is a key without a document. A document that is large is left out of its row, to be read alone: many of them at once
-- would fill the memory. LIMIT keeps the planner at one look into the index for each.
SELECT wanted.place, r.*
  FROM unnest($1::text[], $2::text[], $3::int[]) WITH ORDINALITY AS wanted (collection, key, slot, place)
  JOIN shardrive.slot_map AS m ON m.slot = wanted.slot AND m.owner = $4
  LEFT JOIN LATERAL (
        SELECT CASE WHEN size_bytes <= 65536 THEN document END, version, created_at, updated_at
          FROM records
         WHERE collection = wanted.collection AND key = wanted.key AND slot = wanted.slot
         LIMIT 1
       ) AS r ON true
