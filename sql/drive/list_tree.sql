-- A page of a drive in the order of whole paths: the entries whose paths begin with $4 and stand behind $5; with $6
-- also what is deeper. No row: the shard does not own the slot. One row of nulls: nothing is there.
SELECT entry.*
  FROM shardrive.slot_map AS m
  LEFT JOIN LATERAL shardrive.list_tree($3, $4, $5, $6, $7) AS entry ON true
 WHERE m.slot = $1 AND m.owner = $2
