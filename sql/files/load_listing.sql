-- Makes a user's imported files what a listing says: a new path becomes a new row, a changed file is changed, and an
-- unchanged row is not written. What the listing leaves out stays, but an old checksum not beside a new size or time.
-- One row: whether the shard owns the slot ($9; this shard is $10), without which nothing is stored; rows inserted; rows updated.
WITH owned AS (
    SELECT slot FROM shardrive.slot_map WHERE slot = $9 AND owner = $10
), stored AS (
    INSERT INTO file_metadata AS f
           (user_id, file_id, file_name, path, mime_type, checksum, size_bytes, modified_at, listed)
    SELECT l.user_id, l.file_id, l.file_name, l.path, l.mime_type, l.checksum, l.size_bytes, l.modified_at, true
      FROM owned
     CROSS JOIN unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::timestamptz[])
        AS l (user_id, file_id, file_name, path, mime_type, checksum, size_bytes, modified_at)
      LEFT JOIN LATERAL (
            SELECT true AS is_there, k.mime_type, k.checksum, k.size_bytes, k.modified_at
              FROM file_metadata AS k
             WHERE k.listed AND k.user_id = l.user_id
               AND shardrive.path_key(coalesce(k.path, k.file_name)) = shardrive.path_key(l.path)
             LIMIT 1
           ) AS known ON true
     WHERE known.is_there IS NULL
        OR (coalesce(l.mime_type, known.mime_type), coalesce(l.checksum, known.checksum),
            coalesce(l.size_bytes, known.size_bytes), coalesce(l.modified_at, known.modified_at))
           IS DISTINCT FROM (known.mime_type, known.checksum, known.size_bytes, known.modified_at)
    ON CONFLICT (user_id, shardrive.path_key(coalesce(path, file_name))) WHERE listed DO UPDATE
       SET mime_type   = coalesce(EXCLUDED.mime_type, f.mime_type),
           checksum    = CASE WHEN EXCLUDED.checksum IS NULL
                               AND coalesce(EXCLUDED.size_bytes, f.size_bytes) IS NOT DISTINCT FROM f.size_bytes
                               AND coalesce(EXCLUDED.modified_at, f.modified_at) IS NOT DISTINCT FROM f.modified_at
                              THEN f.checksum ELSE EXCLUDED.checksum END,
           size_bytes  = coalesce(EXCLUDED.size_bytes, f.size_bytes),
           modified_at = coalesce(EXCLUDED.modified_at, f.modified_at)
     -- Another import may have stored the same in this moment.
     WHERE (coalesce(EXCLUDED.mime_type, f.mime_type), coalesce(EXCLUDED.checksum, f.checksum),
            coalesce(EXCLUDED.size_bytes, f.size_bytes), coalesce(EXCLUDED.modified_at, f.modified_at))
           IS DISTINCT FROM (f.mime_type, f.checksum, f.size_bytes, f.modified_at)
    RETURNING f.xmax = 0 AS is_new
)
SELECT EXISTS (SELECT FROM owned), count(*) FILTER (WHERE is_new), count(*) FILTER (WHERE NOT is_new)
  FROM stored
