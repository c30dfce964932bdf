-- Somebody asks for something while the move can still do it.
UPDATE shardrive.moves SET wish = $2 WHERE id = $1 AND stage = ANY ($3)
