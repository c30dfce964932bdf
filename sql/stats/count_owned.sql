-- Files, documents and their bytes in the slots of this shard, from the counts, at the same cost for any number of rows
-- and slots; and the coverage. A sum of sizes beyond a bigint is given as the largest bigint.
SELECT coverage.slots, coverage.digest, coverage.others, files.rows, files.bytes, documents.rows, documents.bytes
  FROM shardrive.coverage
 CROSS JOIN LATERAL (
        SELECT sum(part.rows)::bigint AS rows, least(sum(part.bytes), 9223372036854775807)::bigint AS bytes
          FROM (
                SELECT rows, bytes FROM shardrive.shard_counts WHERE kind = 'files'
                UNION ALL
                SELECT delta.rows, delta.bytes
                  FROM shardrive.slot_deltas AS d, unnest(d.slots, d.rows, d.bytes) AS delta (slot, rows, bytes)
                 WHERE get_bit(coverage.owned, delta.slot) = 1
               ) AS part
       ) AS files
 CROSS JOIN LATERAL (
        SELECT sum(part.rows)::bigint AS rows, sum(part.bytes)::bigint AS bytes
          FROM (
                SELECT rows, bytes FROM shardrive.shard_counts WHERE kind = 'documents'
                UNION ALL
                SELECT delta.rows, delta.bytes
                  FROM shardrive.record_deltas AS d, unnest(d.slots, d.rows, d.bytes) AS delta (slot, rows, bytes)
                 WHERE get_bit(coverage.owned, delta.slot) = 1
               ) AS part
       ) AS documents
