-- The new owner takes the slots, with their counts, under a write freeze that lasts until the old owner has given the
-- slots up.
SELECT shardrive.take_slots($1, $2, $3, $4, $5, $6, $7::jsonb, $8, $9)
