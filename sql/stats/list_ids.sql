-- Every id of this shard, in order, to be compared with the other shards' ids.
SELECT file_id, user_id
  FROM file_metadata
 ORDER BY file_id
