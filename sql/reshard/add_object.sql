-- Records an object before it is made.
INSERT INTO shardrive.move_objects (move_id, shard, kind, name) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING
