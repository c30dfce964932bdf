-- The new owner takes them.
SELECT shardrive.take_slots($1, $2, $3, $4, $5)
