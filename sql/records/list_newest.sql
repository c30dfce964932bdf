-- A shard's part of a page over a whole collection, newest first, from before the key $2 on (null: from the newest on): at
-- most $4, and no more than $5 bytes of them after the first. found says how many there would have been without the limit
-- on bytes. And which slots the shard owns.
SELECT coverage.slots, coverage.digest, coverage.others,
       page.key, page.document, page.version, page.created_at, page.updated_at, page.found
  FROM shardrive.coverage
  LEFT JOIN LATERAL (
        SELECT r.*, count(*) OVER () AS found,
               sum(octet_length(r.document)) OVER (ORDER BY r.key DESC) - octet_length(r.document) AS bytes_before
          FROM (
                SELECT r.key, r.document::text, r.version, r.created_at, r.updated_at
                  FROM records AS r
                 WHERE r.collection = $1 AND ($2::text IS NULL OR r.key < $2)
                   AND EXISTS (SELECT FROM shardrive.slot_map AS m WHERE m.slot = r.slot AND m.owner = $3)
                 ORDER BY r.key DESC
                 LIMIT $4
               ) AS r
       ) AS page ON page.bytes_before <= $5
 ORDER BY page.key DESC
