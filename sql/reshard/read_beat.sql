-- The last beat that arrived.
SELECT max(beat) FROM shardrive.beats WHERE move_id = $1 AND forward = $2
