-- Several files at once, by their ids and the slots that these name. A place without a row in the answer is one whose slot
-- the shard does not own; a row of nulls is an id without a file.
SELECT wanted.place, f.*
  FROM unnest($1::int[], $2::uuid[]) WITH ORDINALITY AS wanted (slot, file_id, place)
  JOIN shardrive.slot_map AS m ON m.slot = wanted.slot AND m.owner = $3
  LEFT JOIN LATERAL (
        SELECT file_id, file_name, path, mime_type, checksum, size_bytes, modified_at, created_at, updated_at, user_id
          FROM file_metadata
         WHERE file_id = wanted.file_id AND shardrive.slot_of(user_id) = wanted.slot
         LIMIT 1
       ) AS f ON true
