-- A page of a user's files, newest first, from the id $4 on. No row at all: the shard does not own the user's slot.
-- One row of nulls: the user has no files here.
SELECT f.*
  FROM shardrive.slot_map AS m
  LEFT JOIN LATERAL (
        SELECT file_id, file_name, path, mime_type, checksum, size_bytes, modified_at, created_at, updated_at
          FROM file_metadata
         WHERE user_id = $3 AND file_id <= $4
         ORDER BY file_id DESC
         LIMIT $5
       ) AS f ON true
 WHERE m.slot = $1 AND m.owner = $2
