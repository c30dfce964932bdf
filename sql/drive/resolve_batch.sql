-- Follows paths of several drives at once, each from the root down. A path without a row in the answer: the shard does
-- not own the slot. One row for each other path: how many of the names are folders; the last of these folders; and the
-- file under the next name, or nulls.
SELECT wanted.place, deepest.depth, deepest.folder_id, f.file_id, f.file_name, f.folder_id, deepest.path || f.file_name, f.mime_type,
       f.checksum, f.size_bytes, f.modified_at, f.created_at, f.updated_at, false, f.content_ref, f.user_id
  FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS wanted (user_id, path, place)
 CROSS JOIN LATERAL (SELECT string_to_array(wanted.path, '/') AS names) AS split
  LEFT JOIN LATERAL (
        WITH RECURSIVE below (folder_id, path, depth) AS (
            SELECT folder_id, ''::text COLLATE "C", 0
              FROM folders
             WHERE user_id = wanted.user_id AND folder_id = '00000000-0000-0000-0000-000000000000'
            UNION ALL
            SELECT f.folder_id, b.path || f.folder_name || '/', b.depth + 1
              FROM below AS b,
                   -- The limit keeps the order of the join, also before the table has statistics: one step in the index
                   -- for each name.
                   LATERAL (SELECT folder_id, folder_name
                              FROM folders
                             WHERE user_id = wanted.user_id AND parent_id = b.folder_id AND trashed_at IS NULL
                               AND shardrive.entry_key(folder_name) = shardrive.entry_key(split.names[b.depth + 1])
                             LIMIT 1) AS f
             WHERE b.depth < cardinality(split.names)
        )
        SELECT folder_id, path, depth FROM below ORDER BY depth DESC LIMIT 1
       ) AS deepest ON true
  LEFT JOIN LATERAL (
        SELECT *
          FROM file_metadata
         WHERE user_id = wanted.user_id AND folder_id = deepest.folder_id AND trashed_at IS NULL
           AND shardrive.entry_key(file_name) = shardrive.entry_key(split.names[deepest.depth + 1])
         LIMIT 1
       ) AS f ON true
 WHERE get_bit((SELECT owned FROM shardrive.coverage), shardrive.slot_of(wanted.user_id)) = 1
