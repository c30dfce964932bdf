-- The same as gather_counts.sql, for the counts of documents.
WITH owned AS (
    DELETE FROM shardrive.record_counts WHERE owned
    RETURNING slot, owned, rows, bytes
)
INSERT INTO shardrive.record_counts (slot, owned, rows, bytes)
SELECT slot, owned, rows, bytes
  FROM owned
 ORDER BY slot
