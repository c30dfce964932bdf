-- Several documents by their keys. No row for a key: the shard does not own the slot. A row of nulls: no document under
-- the key. A large document is left out of its row, to be read alone: many large documents at once
-- would fill the memory. LIMIT keeps the planner at a look into the index for each key.
SELECT wanted.place, r.*
  FROM unnest($1::text[], $2::text[], $3::int[]) WITH ORDINALITY AS wanted (collection, key, slot, place)
  LEFT JOIN LATERAL (
        SELECT CASE WHEN size_bytes <= 65536 THEN document END, version, created_at, updated_at
          FROM records
         WHERE collection = wanted.collection AND key = wanted.key AND slot = wanted.slot
         LIMIT 1
       ) AS r ON true
 WHERE get_bit((SELECT owned FROM shardrive.coverage), wanted.slot) = 1
