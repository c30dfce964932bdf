-- Makes the folders of a listing, all of one user ($1), with every folder on the way that is missing. No row: the shard
-- does not own the slot ($3; this shard is $4).
SELECT cardinality(shardrive.make_folders_at(array_fill($1, ARRAY[cardinality($2::text[])]), $2))::bigint
  FROM shardrive.slot_map
 WHERE slot = $3 AND owner = $4
