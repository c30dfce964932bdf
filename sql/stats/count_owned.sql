-- Rows and bytes of the slots that this shard owns, from the counts; the same cost at any number of rows.
SELECT (SELECT count(*) FROM shardrive.slot_map WHERE owner = $1) AS slots,
       coalesce(sum(part.rows), 0)::bigint                       AS rows,
       coalesce(sum(part.bytes), 0)::bigint                      AS bytes
  FROM (
        SELECT slot, rows, bytes FROM shardrive.slot_counts
        UNION ALL
        SELECT delta.* FROM shardrive.slot_deltas AS d, unnest(d.slots, d.rows, d.bytes) AS delta (slot, rows, bytes)
       ) AS part
  JOIN shardrive.slot_map AS m USING (slot)
 WHERE m.owner = $1
