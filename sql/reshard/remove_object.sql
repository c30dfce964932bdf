-- Removes the record of an object.
DELETE FROM shardrive.move_objects WHERE shard = $1 AND kind = $2 AND name = $3
