-- For each slot: the owner in this shard's map, rows and bytes by a scan and by the counts, the number of files whose
-- ids carry another slot, and whether the coverage says something else than the map.
SELECT m.slot, m.owner, m.epoch,
       coalesce(scanned.rows, 0)  AS scanned_rows,
       coalesce(scanned.bytes, 0)::text AS scanned_bytes,
       coalesce(t.rows, 0)        AS counted_rows,
       coalesce(t.bytes, 0)::text       AS counted_bytes,
       coalesce(scanned.misplaced, 0) AS misplaced_rows,
       EXISTS (SELECT FROM shardrive.local_moves AS l WHERE get_bit(l.slots, m.slot) = 1) AS moving,
       (get_bit((SELECT owned FROM shardrive.coverage), m.slot) = 1)
         <> (m.owner IS NOT DISTINCT FROM (SELECT shard_id FROM shardrive.identity)) AS coverage_differs
  FROM shardrive.slot_map AS m
  LEFT JOIN shardrive.slot_totals AS t USING (slot)
  LEFT JOIN (
        SELECT shardrive.slot_of(user_id) AS slot, count(*) AS rows, coalesce(sum(size_bytes), 0) AS bytes,
               count(*) FILTER (WHERE shardrive.slot_in(file_id) <> shardrive.slot_of(user_id)) AS misplaced
          FROM file_metadata
         GROUP BY 1
       ) AS scanned USING (slot)
 ORDER BY m.slot
