-- This shard takes part in a move: changes of rows of its slots are noted from here on.
INSERT INTO shardrive.local_moves (move_id, slots, copy_rate) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
