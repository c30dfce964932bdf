-- The kept counts against a count of the rows themselves, for each slot of this shard. No line means that they
-- agree. Reads the whole table.
SELECT m.slot,
       coalesce(t.rows, 0)             AS kept_rows,
       coalesce(r.rows, 0)             AS real_rows,
       coalesce(t.bytes, 0)            AS kept_bytes,
       coalesce(r.bytes, 0)            AS real_bytes
  FROM shardrive.slot_map AS m
  JOIN shardrive.identity AS i ON i.shard_id = m.owner
  LEFT JOIN shardrive.slot_totals AS t USING (slot)
  LEFT JOIN (
        SELECT shardrive.slot_of(user_id) AS slot, count(*) AS rows, coalesce(sum(size_bytes), 0) AS bytes
          FROM file_metadata
         GROUP BY 1
       ) AS r USING (slot)
 WHERE coalesce(t.rows, 0) <> coalesce(r.rows, 0)
    OR coalesce(t.bytes, 0) <> coalesce(r.bytes, 0)
 ORDER BY m.slot;
