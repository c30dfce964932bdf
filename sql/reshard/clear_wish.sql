-- The wish is being fulfilled, or cannot be.
UPDATE shardrive.moves SET wish = NULL WHERE id = $1
