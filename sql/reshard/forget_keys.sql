-- The notes of a move's changes are not needed any more.
DELETE FROM shardrive.changed_keys WHERE move_id = $1
