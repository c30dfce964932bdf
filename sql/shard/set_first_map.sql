-- The first slot map: slot mod shards.
INSERT INTO shardrive.slot_map (slot, owner, epoch)
SELECT slot, slot % $1, 1
  FROM generate_series(0, 5039) AS slot
ON CONFLICT DO NOTHING
