-- The next beat of a move: when it arrives at the other shard, everything before it has.
INSERT INTO shardrive.beats AS b (move_id, forward, beat) VALUES ($1, $2, 1)
ON CONFLICT (move_id, forward) DO UPDATE SET beat = b.beat + 1
RETURNING beat
