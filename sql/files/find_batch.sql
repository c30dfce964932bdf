-- Several files at once, by their ids: each of the user who is named, else of any user of the slot that the id names. A
-- place without a row in the answer: the shard does not own the slot. A row of nulls: no such file. Two rows: several
-- users have it.
SELECT wanted.place, f.file_id, f.file_name, f.folder_id, around.path || f.file_name AS path, f.mime_type, f.checksum, f.size_bytes,
       f.modified_at, f.created_at, f.updated_at, f.is_trashed OR (f.folder_id IS NOT NULL AND around.is_live IS NOT TRUE),
       f.content_ref, f.user_id
  FROM unnest($1::int[], $2::uuid[], $3::bigint[]) WITH ORDINALITY AS wanted (slot, file_id, user_id, place)
  LEFT JOIN LATERAL (
        SELECT file_id, file_name, folder_id, mime_type, checksum, size_bytes, modified_at, created_at, updated_at,
               trashed_at IS NOT NULL AS is_trashed, content_ref, user_id
          FROM file_metadata
         WHERE user_id = wanted.user_id AND file_id = wanted.file_id
        UNION ALL
        (SELECT file_id, file_name, folder_id, mime_type, checksum, size_bytes, modified_at, created_at, updated_at,
                trashed_at IS NOT NULL, content_ref, user_id
           FROM file_metadata
          WHERE wanted.user_id IS NULL AND file_id = wanted.file_id AND shardrive.slot_of(user_id) = wanted.slot
          LIMIT 2)
       ) AS f ON true
  LEFT JOIN LATERAL shardrive.folder_place(f.user_id, f.folder_id) AS around ON f.folder_id IS NOT NULL
 WHERE get_bit((SELECT owned FROM shardrive.coverage), wanted.slot) = 1
