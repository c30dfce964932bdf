-- Copies the cluster's map into a joining database.
INSERT INTO shardrive.slot_map (slot, owner, epoch)
SELECT slot - 1, owner, epoch
  FROM unnest($1::int[], $2::bigint[]) WITH ORDINALITY AS known (owner, epoch, slot)
ON CONFLICT (slot) DO UPDATE SET owner = EXCLUDED.owner, epoch = EXCLUDED.epoch WHERE slot_map.epoch < EXCLUDED.epoch
