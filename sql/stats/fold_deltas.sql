-- Adds the deltas of transactions to the counts, and gives the number of deltas. Several processes may try, one at a
-- time folds. A delta is in slot_deltas or in slot_counts, never in both.
WITH turn AS MATERIALIZED (
    SELECT pg_try_advisory_xact_lock(5040, 3) AS mine
), folded AS (
    DELETE FROM shardrive.slot_deltas
     WHERE (SELECT mine FROM turn)
    RETURNING slots, rows, bytes
), summed AS (
    SELECT delta.slot, sum(delta.rows)::bigint AS rows, sum(delta.bytes) AS bytes
      FROM folded, unnest(folded.slots, folded.rows, folded.bytes) AS delta (slot, rows, bytes)
     GROUP BY delta.slot
), added AS (
    UPDATE shardrive.slot_counts AS c
       SET rows = c.rows + summed.rows, bytes = c.bytes + summed.bytes
      FROM summed
     WHERE c.slot = summed.slot
)
SELECT count(*) FROM folded
