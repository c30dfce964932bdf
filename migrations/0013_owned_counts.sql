-- The counts of the slots that a shard owns are found without reading those of all 5,040: with a hundred shards each owns
-- fifty of them. Folding changes neither column, so that its updates stay within their pages.

CREATE INDEX slot_counts_owned_idx ON shardrive.slot_counts (slot) WHERE owned;
CREATE INDEX record_counts_owned_idx ON shardrive.record_counts (slot) WHERE owned;
