-- A file by an id that names no slot, if this shard owns it. And which slots this shard owns, so that the asker can tell
-- whether the answers of all shards together cover every slot once.
SELECT coverage.slots, coverage.digest, coverage.others,
       f.file_id, f.file_name, f.path, f.mime_type, f.checksum, f.size_bytes, f.modified_at, f.created_at, f.updated_at,
       f.user_id
  FROM shardrive.coverage
  LEFT JOIN (
        file_metadata AS f
        JOIN shardrive.slot_map AS m ON m.slot = shardrive.slot_of(f.user_id) AND m.owner = $1
       ) ON f.file_id = $2
