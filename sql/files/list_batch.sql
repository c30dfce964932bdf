-- Pages of several users at once, each from its own id on and of its own size, newest first, without the trash. A user
-- without a row in the answer is one whose slot the shard does not own; a row of nulls is a user without files here.
--
-- Users with folders and users without are asked for apart: a file without a folder has no path, and nothing has to be
-- kept to look for one. A LATERAL query keeps its order, as PostgreSQL joins it row by row.
WITH RECURSIVE wanted AS MATERIALIZED (
    SELECT w.*, EXISTS (SELECT FROM folders WHERE user_id = w.user_id) AS has_folders,
           EXISTS (SELECT FROM folders WHERE user_id = w.user_id AND trashed_at IS NOT NULL) AS has_trash
      FROM unnest($1::bigint[], $2::uuid[], $3::int[]) WITH ORDINALITY AS w (user_id, from_id, size, place)
     WHERE get_bit((SELECT owned FROM shardrive.coverage), shardrive.slot_of(w.user_id)) = 1
), page AS MATERIALIZED (
    SELECT wanted.place, wanted.user_id, f.*
      FROM wanted
      LEFT JOIN LATERAL (
            SELECT file_id, file_name, folder_id, mime_type, checksum, size_bytes, modified_at, created_at, updated_at,
                   content_ref
              FROM file_metadata
             WHERE user_id = wanted.user_id AND file_id <= wanted.from_id AND trashed_at IS NULL
               -- Who has no folder in the trash has no file in such a folder.
               AND (NOT wanted.has_trash OR folder_id IS NULL OR shardrive.is_live(user_id, folder_id))
             ORDER BY file_id DESC
             LIMIT wanted.size
           ) AS f ON true
     WHERE wanted.has_folders
), above (user_id, folder_id, next_id, path, depth) AS (
    -- The folders of a page are followed up to the root once each, and not once for each file.
    SELECT DISTINCT user_id, folder_id, folder_id, ''::text COLLATE "C", 0 FROM page WHERE folder_id IS NOT NULL
    UNION ALL
    SELECT a.user_id, a.folder_id, f.parent_id, CASE WHEN f.parent_id IS NULL THEN a.path ELSE f.folder_name || '/' || a.path END,
           a.depth + 1
      FROM above AS a,
           LATERAL (SELECT parent_id, folder_name FROM folders WHERE user_id = a.user_id AND folder_id = a.next_id LIMIT 1) AS f
     -- No cycle can be made; a cycle by hand ends here.
     WHERE a.depth < 200
)
SELECT wanted.place, f.file_id, f.file_name, f.folder_id, NULL::text AS path, f.mime_type, f.checksum, f.size_bytes, f.modified_at,
       f.created_at, f.updated_at, false, f.content_ref
  FROM wanted
  LEFT JOIN LATERAL (
        SELECT file_id, file_name, folder_id, mime_type, checksum, size_bytes, modified_at, created_at, updated_at, content_ref
          FROM file_metadata
         WHERE user_id = wanted.user_id AND file_id <= wanted.from_id AND trashed_at IS NULL
         ORDER BY file_id DESC
         LIMIT wanted.size
       ) AS f ON true
 WHERE NOT wanted.has_folders
UNION ALL
(SELECT p.place, p.file_id, p.file_name, p.folder_id, a.path || p.file_name, p.mime_type, p.checksum, p.size_bytes, p.modified_at,
        p.created_at, p.updated_at, false, p.content_ref
   FROM page AS p
   LEFT JOIN above AS a ON a.next_id IS NULL AND a.user_id = p.user_id AND a.folder_id = p.folder_id
  ORDER BY p.place, p.file_id DESC)
