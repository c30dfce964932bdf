-- Several files at once, by their ids: each of the user who is named, else of any user of the slot that the id names. A place
-- without a row in the answer: the shard does not own the slot. A row of nulls: no such file. Two rows: several users have it.
SELECT wanted.place, f.*
  FROM unnest($1::int[], $2::uuid[], $3::bigint[]) WITH ORDINALITY AS wanted (slot, file_id, user_id, place)
  JOIN shardrive.slot_map AS m ON m.slot = wanted.slot AND m.owner = $4
  LEFT JOIN LATERAL (
        SELECT file_id, file_name, folder_id, shardrive.file_path(user_id, folder_id, file_name), mime_type, checksum,
               size_bytes, modified_at, created_at, updated_at,
               shardrive.is_trashed(user_id, folder_id, trashed_at), user_id
          FROM file_metadata
         WHERE user_id = wanted.user_id AND file_id = wanted.file_id
        UNION ALL
        (SELECT file_id, file_name, folder_id, shardrive.file_path(user_id, folder_id, file_name), mime_type, checksum,
               size_bytes, modified_at, created_at, updated_at,
               shardrive.is_trashed(user_id, folder_id, trashed_at), user_id
           FROM file_metadata
          WHERE wanted.user_id IS NULL AND file_id = wanted.file_id AND shardrive.slot_of(user_id) = wanted.slot
          LIMIT 2)
       ) AS f ON true
