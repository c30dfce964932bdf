-- A file by an id that names no slot, of any user whose slot this shard owns; two rows if several users have it. And
-- which slots this shard owns, so that the asker can tell whether the answers of all shards together cover every slot
-- once.
SELECT coverage.slots, coverage.digest, coverage.others, f.*
  FROM shardrive.coverage
  LEFT JOIN (
        SELECT file_id, file_name, folder_id, around.path || file_name, mime_type, checksum, size_bytes, modified_at, created_at,
               updated_at, trashed_at IS NOT NULL OR (folder_id IS NOT NULL AND around.is_live IS NOT TRUE), content_ref, user_id
          FROM file_metadata
          JOIN shardrive.slot_map AS m ON m.slot = shardrive.slot_of(user_id) AND m.owner = $1
          LEFT JOIN LATERAL shardrive.folder_place(user_id, folder_id) AS around ON folder_id IS NOT NULL
         WHERE file_id = $2
         LIMIT 2
       ) AS f ON true
