-- The next changes after an id, in order, without the held slots: $3 for files and folders, $4 for documents.
SELECT id, slot, kind, user_id, file_id, folder_id, size_bytes, collection, key, shard_key, version, at
  FROM shardrive.outbox
 WHERE id > $2
   AND slot <> ALL (CASE WHEN user_id IS NULL THEN $4 ELSE $3 END::integer[])
 ORDER BY id
 LIMIT $1
