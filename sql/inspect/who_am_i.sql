-- Which shard of which cluster this database is, and how many rows count here.
SELECT i.shard_id,
       i.shard_count,
       i.cluster_id,
       i.ready,
       current_database()                        AS database,
       split_part(version(), ' ', 2)             AS postgresql,
       current_setting('wal_level')              AS wal_level,
       (SELECT count(*) FROM shardrive.slot_map AS m WHERE m.owner = i.shard_id) AS owned_slots,
       (SELECT max(epoch) FROM shardrive.slot_map) AS map_epoch,
       (SELECT sum(t.rows)
          FROM shardrive.slot_totals AS t
          JOIN shardrive.slot_map AS m USING (slot)
         WHERE m.owner = i.shard_id)             AS files,
       pg_size_pretty(pg_database_size(current_database())) AS size_on_disk
  FROM shardrive.identity AS i;
