-- As insert_batch, of requests some of which have an Idempotency-Key ($10; null: none) and the hash of what they ask
-- for ($11): what is kept for a key is kept with the file. A file that is there already is no change, and nothing is
-- kept of it.
WITH batch AS MATERIALIZED (
    SELECT *
      FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::bigint[], $8::timestamptz[],
                  $9::text[], $10::uuid[], $11::uuid[])
        AS b (user_id, file_id, file_name, folder_id, mime_type, checksum, size_bytes, modified_at, content_ref, key, request)
), inserted AS (
    INSERT INTO file_metadata (user_id, file_id, file_name, folder_id, mime_type, checksum, size_bytes, modified_at, content_ref)
    SELECT user_id, file_id, file_name, folder_id, mime_type, checksum, size_bytes, modified_at,
           content_ref
      FROM batch
    ON CONFLICT DO NOTHING
    RETURNING user_id, file_id, created_at, folder_id
), kept AS (
    INSERT INTO shardrive.idempotency_keys (slot, key, request, shard_id, outcome)
    SELECT shardrive.slot_of(i.user_id), b.key, b.request, $12,
           json_build_object('file_id', i.file_id, 'created_at', (extract(epoch FROM i.created_at) * 1000000)::bigint,
                             'folder_id', i.folder_id)
      FROM inserted AS i
      JOIN batch AS b USING (user_id, file_id)
     WHERE b.key IS NOT NULL
     ORDER BY 1, 2
)
SELECT user_id, file_id, created_at, folder_id FROM inserted
