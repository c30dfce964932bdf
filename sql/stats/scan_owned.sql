-- The same as count_owned, from the rows themselves.
SELECT coverage.slots, coverage.digest, coverage.others, files.rows, files.bytes, documents.rows, documents.bytes
  FROM shardrive.coverage,
       (
        SELECT count(*) AS rows, least(coalesce(sum(f.size_bytes), 0), 9223372036854775807)::bigint AS bytes
          FROM file_metadata AS f
          JOIN shardrive.slot_map AS m ON m.slot = shardrive.slot_of(f.user_id)
         WHERE m.owner = $1
       ) AS files,
       (
        SELECT count(*) AS rows, coalesce(sum(octet_length(r.document::text)), 0)::bigint AS bytes
          FROM records AS r
          JOIN shardrive.slot_map AS m ON m.slot = r.slot
         WHERE m.owner = $1
       ) AS documents
