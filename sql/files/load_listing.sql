-- Makes a user's files what a listing says: a new path becomes a new row, a changed file is changed, and an unchanged
-- row is not written. What the listing leaves out stays, but an old checksum not beside a new size
-- or time, and an old place of the content not beside a new content. The folders are those that
-- place_batch has found or made.
-- One row: whether the shard owns the slot ($10; this shard is $11), without which nothing is stored; rows inserted;
-- rows updated.
WITH owned AS (
    SELECT slot FROM shardrive.slot_map WHERE slot = $10 AND owner = $11
), listed AS MATERIALIZED (
    SELECT l.*
      FROM owned
     CROSS JOIN unnest($1::bigint[], $2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::bigint[], $8::timestamptz[],
                        $9::text[])
        AS l (user_id, file_id, file_name, folder_id, mime_type, checksum, size_bytes, modified_at, content_ref)
), stored AS (
    INSERT INTO file_metadata AS f (user_id, file_id, file_name, folder_id, mime_type, checksum, size_bytes, modified_at, content_ref)
    SELECT l.user_id, l.file_id, l.file_name, l.folder_id, l.mime_type, l.checksum, l.size_bytes, l.modified_at, l.content_ref
      FROM listed AS l
      LEFT JOIN LATERAL (
            SELECT true AS is_there, k.mime_type, k.checksum, k.size_bytes, k.modified_at
              FROM file_metadata AS k
             WHERE k.user_id = l.user_id AND k.folder_id = l.folder_id AND k.trashed_at IS NULL
               AND shardrive.entry_key(k.file_name) = shardrive.entry_key(l.file_name)
             LIMIT 1
           ) AS known ON true
     WHERE known.is_there IS NULL
        OR (coalesce(l.mime_type, known.mime_type), coalesce(l.checksum, known.checksum),
            coalesce(l.size_bytes, known.size_bytes), coalesce(l.modified_at, known.modified_at))
           IS DISTINCT FROM (known.mime_type, known.checksum, known.size_bytes, known.modified_at)
    ON CONFLICT (user_id, folder_id, shardrive.entry_key(file_name)) WHERE folder_id IS NOT NULL AND trashed_at IS NULL DO UPDATE
       SET mime_type   = coalesce(EXCLUDED.mime_type, f.mime_type),
           checksum    = CASE WHEN EXCLUDED.checksum IS NULL
                               AND coalesce(EXCLUDED.size_bytes, f.size_bytes) IS NOT DISTINCT FROM f.size_bytes
                               AND coalesce(EXCLUDED.modified_at, f.modified_at) IS NOT DISTINCT FROM f.modified_at
                              THEN f.checksum ELSE EXCLUDED.checksum END,
           size_bytes  = coalesce(EXCLUDED.size_bytes, f.size_bytes),
           modified_at = coalesce(EXCLUDED.modified_at, f.modified_at),
           content_ref = CASE WHEN EXCLUDED.content_ref IS NOT NULL THEN EXCLUDED.content_ref
                              WHEN (coalesce(EXCLUDED.checksum, f.checksum), coalesce(EXCLUDED.size_bytes, f.size_bytes),
                                    coalesce(EXCLUDED.modified_at, f.modified_at))
                                   IS NOT DISTINCT FROM (f.checksum, f.size_bytes, f.modified_at)
                              THEN f.content_ref END
     -- Another import may have stored the same in this moment.
     WHERE (coalesce(EXCLUDED.mime_type, f.mime_type), coalesce(EXCLUDED.checksum, f.checksum),
            coalesce(EXCLUDED.size_bytes, f.size_bytes), coalesce(EXCLUDED.modified_at, f.modified_at))
           IS DISTINCT FROM (f.mime_type, f.checksum, f.size_bytes, f.modified_at)
    RETURNING f.xmax = 0 AS is_new
)
SELECT EXISTS (SELECT FROM owned), count(*) FILTER (WHERE is_new), count(*) FILTER (WHERE NOT is_new)
  FROM stored
