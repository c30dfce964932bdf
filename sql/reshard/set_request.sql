-- An operator's request, if the move can fulfil the request in its stage.
UPDATE shardrive.moves SET request = $2 WHERE id = $1 AND stage = ANY ($3)
