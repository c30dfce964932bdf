-- A coordinator begins: its token is higher than every earlier token.
UPDATE shardrive.coordinator SET token = token + 1 RETURNING token
