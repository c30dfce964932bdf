-- This shard takes part in a move: from here on writers record their changes of the moving slots' rows.
INSERT INTO shardrive.local_moves (move_id, slots, copy_rate) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
