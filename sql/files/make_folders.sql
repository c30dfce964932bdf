-- Makes the folders of a listing, all of one user ($1), with every folder on the way that is missing. No row: the shard does not own
-- the slot ($3; this shard is $4).
WITH made AS MATERIALIZED (
    SELECT shardrive.make_folders($1, string_to_array(d.path, '/')) AS folder_id
      FROM shardrive.slot_map AS m
     CROSS JOIN unnest($2::text[]) AS d (path)
     WHERE m.slot = $3 AND m.owner = $4
)
SELECT count(folder_id) FROM made HAVING EXISTS (SELECT FROM shardrive.slot_map WHERE slot = $3 AND owner = $4)
