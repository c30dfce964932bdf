-- Stores documents under their keys, in place of the present documents. A key stands in a batch once: the last write
-- of the key is sent. xmax is 0 in a new row.
INSERT INTO records AS r (collection, key, slot, shard_key, document)
SELECT wanted.collection, wanted.key, wanted.slot, wanted.shard_key, wanted.document::json
  FROM unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::text[])
    AS wanted (collection, key, slot, shard_key, document)
    ON CONFLICT (collection, key, slot) DO UPDATE
   SET document   = EXCLUDED.document,
       shard_key  = EXCLUDED.shard_key,
       version    = greatest(r.version + 1, EXCLUDED.version),
       updated_at = now()
RETURNING r.collection, r.key, r.version, r.created_at, r.updated_at, r.xmax = 0 AS created
