-- The owner gives the slots of the move to the other shard.
SELECT shardrive.leave_slots($1, $2, $3, $4, $5)
