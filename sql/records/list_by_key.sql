-- The same as list_newest, in the order of the keys, from after the key $2 on.
-- 1001 is a page of the largest size and one document more: of an unknown number the planner expects a tenth of the
-- table.
SELECT coverage.slots, coverage.digest, coverage.others,
       page.key, page.document, page.version, page.created_at, page.updated_at, page.found
  FROM shardrive.coverage
  LEFT JOIN LATERAL (
        SELECT r.*, count(*) OVER () AS found,
               sum(r.size_bytes) OVER (ORDER BY r.key) - r.size_bytes AS bytes_before
          FROM (
                SELECT *
                  FROM (
                        SELECT r.key, r.document, r.version, r.created_at, r.updated_at, r.size_bytes
                          FROM records AS r
                         WHERE r.collection = $1 AND r.key > $2
                           AND (SELECT m.owner FROM shardrive.slot_map AS m WHERE m.slot = r.slot) = $3
                         ORDER BY r.key
                         LIMIT 1001
                       ) AS bounded
                 ORDER BY key
                 LIMIT $4
               ) AS r
       ) AS page ON page.bytes_before <= $5
 ORDER BY page.key
