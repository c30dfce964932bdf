-- The same as count_owned, from the rows themselves.
SELECT (SELECT count(*) FROM shardrive.slot_map WHERE owner = $1) AS slots,
       count(*)                                                  AS rows,
       coalesce(sum(f.size_bytes), 0)::bigint                    AS bytes
  FROM file_metadata AS f
  JOIN shardrive.slot_map AS m ON m.slot = shardrive.slot_of(f.user_id)
 WHERE m.owner = $1
