-- The counts of this shard by kind, and the sums over its slots that they must equal.
SELECT t.kind, t.rows, t.bytes::text, summed.rows AS slot_rows, summed.bytes::text AS slot_bytes
  FROM shardrive.shard_counts AS t
  JOIN shardrive.owned_sums AS summed USING (kind)
 ORDER BY t.kind
