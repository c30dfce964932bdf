-- Documents of one shard key, newest first, from before the key $4 on: at most $6, and no more
-- than $7 bytes after the first document. found: the number of documents without the limit on bytes. Documents behind
-- the limit are not unpacked: the column size_bytes has their bytes. No row: the shard does not own the slot. A row of
-- nulls: no documents.
-- 1001 is a page of the largest size and one document more: of an unknown number the planner expects a tenth of the
-- rows.
SELECT page.key, page.document, page.version, page.created_at, page.updated_at, page.found
  FROM shardrive.slot_map AS m
  LEFT JOIN LATERAL (
        SELECT r.*, count(*) OVER () AS found,
               sum(r.size_bytes) OVER (ORDER BY r.key DESC) - r.size_bytes AS bytes_before
          FROM (
                SELECT *
                  FROM (
                        SELECT key, document, version, created_at, updated_at, size_bytes
                          FROM records
                         WHERE collection = $1 AND shard_key = $2 AND slot = $3 AND key < $4
                         ORDER BY key DESC
                         LIMIT 1001
                       ) AS bounded
                 ORDER BY key DESC
                 LIMIT $6
               ) AS r
       ) AS page ON page.bytes_before <= $7
 WHERE m.slot = $3 AND m.owner = $5
 ORDER BY page.key DESC
