-- The same as count_owned, from the rows themselves.
SELECT owned.slots, owned.digest, owned.others, counted.rows, counted.bytes
  FROM (
        SELECT count(*) FILTER (WHERE owner = $1)                                            AS slots,
               coalesce(bit_xor(hashint4extended(slot, 0)) FILTER (WHERE owner = $1), 0)     AS digest,
               coalesce(bit_xor(hashint4extended(slot, 0)) FILTER (WHERE owner <> $1), 0)    AS others
          FROM shardrive.slot_map
       ) AS owned,
       (
        SELECT count(*) AS rows, coalesce(sum(f.size_bytes), 0)::bigint AS bytes
          FROM file_metadata AS f
          JOIN shardrive.slot_map AS m ON m.slot = shardrive.slot_of(f.user_id)
         WHERE m.owner = $1
       ) AS counted
