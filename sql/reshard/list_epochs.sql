-- The epochs of these slots, as this shard's map says, in their order.
SELECT m.epoch
  FROM unnest($1::int[]) WITH ORDINALITY AS asked (slot, place)
  JOIN shardrive.slot_map AS m USING (slot)
 ORDER BY asked.place
