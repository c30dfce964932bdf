-- A coordinator begins: its token is higher than those of all before it.
UPDATE shardrive.coordinator SET token = token + 1 RETURNING token
