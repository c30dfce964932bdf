-- Where the server's machine says how much disk is free; goes with the transaction.
CREATE TEMP TABLE shardrive_disk (line text) ON COMMIT DROP
