-- True if the database has the list of moves.
SELECT to_regclass('shardrive.moves') IS NOT NULL
