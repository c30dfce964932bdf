-- The old owner gives the slots of the move up.
SELECT shardrive.give_up_slots($1, $2, $3, $4, $5)
