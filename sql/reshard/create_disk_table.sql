-- A table for the output of df; dropped at the end of the transaction.
CREATE TEMP TABLE shardrive_disk (line text) ON COMMIT DROP
