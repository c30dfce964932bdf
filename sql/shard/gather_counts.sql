-- Writes the counts of the owned slots anew, one after the other: among a hundred shards, the slots of one would lie on
-- as many pages as there are slots. Only for a database that does not serve yet: a fold at the same time would miss the
-- new rows.
WITH owned AS (
    DELETE FROM shardrive.slot_counts WHERE owned
    RETURNING slot, owned, rows, bytes
)
INSERT INTO shardrive.slot_counts (slot, owned, rows, bytes)
SELECT slot, owned, rows, bytes
  FROM owned
 ORDER BY slot
