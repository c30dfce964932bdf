-- The folder under a path of a user ($1), with every folder on the way that is missing. $3: the transaction holds the
-- drive alone.
SELECT (shardrive.make_folders_at(ARRAY[$1::bigint], ARRAY[$2::text], $3))[1]
