-- The new owner takes them, with their counts, and holds them until the old one has given them up.
SELECT shardrive.take_held_slots($1, $2, $3, $4, $5, $6, $7::jsonb, $8)
