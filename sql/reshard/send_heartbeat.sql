-- The next heartbeat of a move in a direction. A heartbeat arrives on the other shard after every earlier commit.
INSERT INTO shardrive.heartbeats AS h (move_id, direction, number) VALUES ($1, $2, 1)
ON CONFLICT (move_id, direction) DO UPDATE SET number = h.number + 1
RETURNING number
