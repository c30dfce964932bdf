-- Pages of several users at once, each from its own id on and of its own size, newest first, without the trash. A user without a
-- row in the answer is one whose slot the shard does not own; a row of nulls is a user without files here.
SELECT wanted.place, f.*
  FROM unnest($1::bigint[], $2::uuid[], $3::int[]) WITH ORDINALITY AS wanted (user_id, from_id, size, place)
  JOIN shardrive.slot_map AS m ON m.slot = shardrive.slot_of(wanted.user_id) AND m.owner = $4
  LEFT JOIN LATERAL (
        SELECT file_id, file_name, folder_id, shardrive.file_path(user_id, folder_id, file_name), mime_type, checksum,
               size_bytes, modified_at, created_at, updated_at, false
          FROM file_metadata
         WHERE user_id = wanted.user_id AND file_id <= wanted.from_id
           AND NOT shardrive.is_trashed(user_id, folder_id, trashed_at)
         ORDER BY file_id DESC
         LIMIT wanted.size
       ) AS f ON true
