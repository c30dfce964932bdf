-- Removes the next records that are too old to count; none of slots that this shard does not own or that are about to
-- leave it.
WITH old AS (
    SELECT k.ctid AS place
      FROM shardrive.idempotency_keys AS k
      JOIN shardrive.slot_map AS m ON m.slot = k.slot AND m.owner = $1
     WHERE k.created_at <= now() - interval '24 hours'
       AND NOT EXISTS (SELECT FROM shardrive.local_moves AS l WHERE l.frozen AND get_bit(l.slots, k.slot) = 1)
     LIMIT $2
       FOR UPDATE OF k SKIP LOCKED
)
DELETE FROM shardrive.idempotency_keys WHERE ctid = ANY (ARRAY(SELECT place FROM old))
