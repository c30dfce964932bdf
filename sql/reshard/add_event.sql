-- Records an event of a move.
INSERT INTO shardrive.move_events (move_id, stage, what) VALUES ($1, $2, $3)
