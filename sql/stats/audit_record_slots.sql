-- The same as audit_slots, for documents; and the number of documents whose keys belong to other slots.
SELECT m.slot, m.owner, m.epoch,
       coalesce(scanned.rows, 0)      AS scanned_rows,
       coalesce(scanned.bytes, 0)::text AS scanned_bytes,
       coalesce(t.rows, 0)            AS counted_rows,
       coalesce(t.bytes, 0)::text     AS counted_bytes,
       coalesce(scanned.misplaced, 0) AS misplaced_rows,
       EXISTS (SELECT FROM shardrive.local_moves AS l WHERE get_bit(l.slots, m.slot) = 1) AS moving
  FROM shardrive.slot_map AS m
  LEFT JOIN shardrive.record_totals AS t USING (slot)
  LEFT JOIN (
        SELECT r.slot, count(*) AS rows, coalesce(sum(octet_length(r.document::text)), 0)::bigint AS bytes,
               count(*) FILTER (WHERE r.slot <> CASE c.key_type
                   WHEN 'string'  THEN shardrive.slot_of(coalesce(r.shard_key, r.key))
                   WHEN 'integer' THEN CASE WHEN coalesce(r.shard_key, r.key) ~ '^-?[0-9]{1,18}$'
                                            THEN shardrive.slot_of(coalesce(r.shard_key, r.key)::bigint) ELSE r.slot END
                   ELSE r.slot END) AS misplaced
          FROM records AS r
          LEFT JOIN shardrive.collections AS c ON c.name = r.collection
         GROUP BY r.slot
       ) AS scanned USING (slot)
 ORDER BY m.slot
