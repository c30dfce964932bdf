-- Frees the room of folded changes now: reading the rest must stay quick under a steady stream of writes.
VACUUM (TRUNCATE false)
    shardrive.slot_deltas, shardrive.slot_counts, shardrive.record_deltas, shardrive.record_counts, shardrive.shard_counts
