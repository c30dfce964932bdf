-- A shard's part of a page over a whole collection, newest first, from before the key $2 on: at most $4, and no more
-- than $5 bytes after the first document. found: the number of documents without the limit on bytes. Documents behind
-- the limit are not unpacked: the column size_bytes has their bytes. And which slots the shard owns. A row's owner is
-- looked up, not joined: a join would read the whole collection for each page.
-- 1001 is a page of the largest size and one document more: of an unknown number the planner expects a tenth of the
-- table.
SELECT coverage.slots, coverage.digest, coverage.others,
       page.key, page.document, page.version, page.created_at, page.updated_at, page.found
  FROM shardrive.coverage
  LEFT JOIN LATERAL (
        SELECT r.*, count(*) OVER () AS found,
               sum(r.size_bytes) OVER (ORDER BY r.key DESC) - r.size_bytes AS bytes_before
          FROM (
                SELECT *
                  FROM (
                        SELECT r.key, r.document, r.version, r.created_at, r.updated_at, r.size_bytes
                          FROM records AS r
                         WHERE r.collection = $1 AND r.key < $2
                           AND (SELECT m.owner FROM shardrive.slot_map AS m WHERE m.slot = r.slot) = $3
                         ORDER BY r.key DESC
                         LIMIT 1001
                       ) AS bounded
                 ORDER BY key DESC
                 LIMIT $4
               ) AS r
       ) AS page ON page.bytes_before <= $5
 ORDER BY page.key DESC
