-- Files, documents and their bytes in the slots of this shard, from the counts, at the same cost for any number of
-- rows; and the coverage. A sum of sizes beyond a bigint is given as the largest bigint.
SELECT coverage.slots, coverage.digest, coverage.others, files.rows, files.bytes, documents.rows, documents.bytes
  FROM shardrive.coverage,
       (
        SELECT coalesce(sum(part.rows), 0)::bigint AS rows, least(coalesce(sum(part.bytes), 0), 9223372036854775807)::bigint AS bytes
          FROM (
                SELECT rows, bytes FROM shardrive.slot_counts WHERE owned
                UNION ALL
                SELECT delta.rows, delta.bytes
                  FROM shardrive.slot_deltas AS d, unnest(d.slots, d.rows, d.bytes) AS delta (slot, rows, bytes)
                  JOIN shardrive.slot_counts AS c USING (slot)
                 WHERE c.owned
               ) AS part
       ) AS files,
       (
        SELECT coalesce(sum(part.rows), 0)::bigint AS rows, coalesce(sum(part.bytes), 0)::bigint AS bytes
          FROM (
                SELECT rows, bytes FROM shardrive.record_counts WHERE owned
                UNION ALL
                SELECT delta.rows, delta.bytes
                  FROM shardrive.record_deltas AS d, unnest(d.slots, d.rows, d.bytes) AS delta (slot, rows, bytes)
                  JOIN shardrive.record_counts AS c USING (slot)
                 WHERE c.owned
               ) AS part
       ) AS documents
