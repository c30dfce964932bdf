-- The next events after a number, in their order, without those of the files, and of the documents, of slots that are held back.
SELECT id, slot, kind, user_id, file_id, size_bytes, collection, key, shard_key, version, at
  FROM shardrive.outbox
 WHERE id > $2
   AND slot <> ALL (CASE WHEN file_id IS NULL THEN $4 ELSE $3 END::integer[])
 ORDER BY id
 LIMIT $1
