-- Rows and bytes of the slots that this shard owns, from the counts; the same cost at any number of rows. And which
-- slots these are: how many, and the exclusive-or of their hashes and of the others'.
SELECT owned.slots, owned.digest, owned.others, counted.rows, counted.bytes
  FROM (
        SELECT count(*) FILTER (WHERE owner = $1)                                            AS slots,
               coalesce(bit_xor(hashint4extended(slot, 0)) FILTER (WHERE owner = $1), 0)     AS digest,
               coalesce(bit_xor(hashint4extended(slot, 0)) FILTER (WHERE owner <> $1), 0)    AS others
          FROM shardrive.slot_map
       ) AS owned,
       (
        SELECT coalesce(sum(part.rows), 0)::bigint AS rows, coalesce(sum(part.bytes), 0)::bigint AS bytes
          FROM (
                SELECT slot, rows, bytes FROM shardrive.slot_counts
                UNION ALL
                SELECT delta.*
                  FROM shardrive.slot_deltas AS d, unnest(d.slots, d.rows, d.bytes) AS delta (slot, rows, bytes)
               ) AS part
          JOIN shardrive.slot_map AS m USING (slot)
         WHERE m.owner = $1
       ) AS counted
