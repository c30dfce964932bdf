-- As put_batch, for requests of which some have an Idempotency-Key: the outcome of a key is stored with the document.
-- $6 to $10 are these requests: collection, key, Idempotency-Key, hash of the request, 1 if a later request of the
-- batch writes the same document, and whether the request is the first to write the document. $12 is the shard.
WITH put AS (
    INSERT INTO records AS r (collection, key, slot, shard_key, document)
    SELECT wanted.collection, wanted.key, wanted.slot, wanted.shard_key, wanted.document::json
      FROM unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::text[])
        AS wanted (collection, key, slot, shard_key, document)
        ON CONFLICT (collection, key, slot) DO UPDATE
       SET document   = EXCLUDED.document,
           shard_key  = EXCLUDED.shard_key,
           version    = greatest(r.version + 1, EXCLUDED.version),
           updated_at = now()
    RETURNING r.collection, r.key, r.version, r.created_at, r.updated_at, r.xmax = 0 AS created, r.slot
), kept AS (
    INSERT INTO shardrive.idempotency_keys (slot, key, request, shard_id, outcome)
    SELECT p.slot, k.idempotency_key, k.request, $12,
           json_build_object('key', p.key, 'created', p.created AND k.is_first, 'version', p.version - k.later,
                             'created_at', (extract(epoch FROM p.created_at) * 1000000)::bigint,
                             'updated_at', (extract(epoch FROM p.updated_at) * 1000000)::bigint)
      FROM unnest($6::text[], $7::text[], $8::uuid[], $9::uuid[], $10::int[], $11::bool[])
        AS k (collection, key, idempotency_key, request, later, is_first)
      JOIN put AS p USING (collection, key)
     ORDER BY 1, 2
)
SELECT collection, key, version, created_at, updated_at, created FROM put
