-- As insert_batch, of requests some of which have an Idempotency-Key ($10; null: none) and the hash of what they ask
-- for ($11): what is kept for a key is kept with the file. A file that is there already is no change, and nothing is
-- kept of it.
WITH inserted AS (
    INSERT INTO file_metadata (user_id, file_id, file_name, folder_id, mime_type, checksum, size_bytes, modified_at, content_ref)
    SELECT user_id, file_id, file_name, folder_id, mime_type, checksum, size_bytes, modified_at, content_ref
      FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::bigint[], $8::timestamptz[],
                  $9::text[])
        AS b (user_id, file_id, file_name, folder_id, mime_type, checksum, size_bytes, modified_at, content_ref)
    ON CONFLICT DO NOTHING
    RETURNING user_id, file_id, created_at, folder_id
), kept AS (
    INSERT INTO shardrive.idempotency_keys (slot, key, request, shard_id, outcome)
    SELECT shardrive.slot_of(i.user_id), k.key, k.request, $12,
           -- JSON by hand: ids and numbers need no escapes, and json_build_object would cost more. All rows have the time
           -- of the transaction.
           '{"file_id":"' || i.file_id || '","created_at":' || (SELECT (extract(epoch FROM now()) * 1000000)::bigint)
           || coalesce(',"folder_id":"' || i.folder_id || '"', '') || '}'
      FROM inserted AS i
      JOIN unnest($1::bigint[], $2::uuid[], $10::uuid[], $11::uuid[]) AS k (user_id, file_id, key, request)
     USING (user_id, file_id)
     WHERE k.key IS NOT NULL
     ORDER BY 1, 2
)
SELECT user_id, file_id, created_at, folder_id FROM inserted
