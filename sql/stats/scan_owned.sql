-- The same as count_owned, from the rows themselves.
SELECT coverage.slots, coverage.digest, coverage.others, counted.rows, counted.bytes
  FROM shardrive.coverage,
       (
        SELECT count(*) AS rows, coalesce(sum(f.size_bytes), 0)::bigint AS bytes
          FROM file_metadata AS f
          JOIN shardrive.slot_map AS m ON m.slot = shardrive.slot_of(f.user_id)
         WHERE m.owner = $1
       ) AS counted
