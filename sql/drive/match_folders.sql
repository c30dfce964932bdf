-- Matches the folders that a listing of the folder $2 names or needs with the folders of the user's drive there.
WITH RECURSIVE named (path) AS (
    (SELECT $2::text COLLATE "C" UNION SELECT path FROM pg_temp.listed_folders)
    UNION
    SELECT coalesce(substring(path FROM '^(.*)/'), '') FROM named WHERE path <> ''
), wanted AS MATERIALIZED (
    -- Of several spellings of a folder the first counts.
    SELECT DISTINCT ON (shardrive.entry_key(path)) shardrive.entry_key(path) AS path_key, path
      FROM named
     ORDER BY shardrive.entry_key(path), path
), root AS MATERIALIZED (
    SELECT CASE WHEN $2 = '' THEN '' ELSE shardrive.entry_key($2) || '/' END COLLATE "C" AS path_key
), found (folder_id, path_key, path, folder_name) AS (
    -- The folders on the way to the folder of the listing, that folder, and all below it.
    SELECT f.folder_id, ''::text COLLATE "C", ''::text COLLATE "C", f.folder_name
      FROM folders AS f
     WHERE f.user_id = $1 AND f.folder_id = '00000000-0000-0000-0000-000000000000'
    UNION ALL
    SELECT f.folder_id, CASE WHEN t.path_key = '' THEN '' ELSE t.path_key || '/' END || shardrive.entry_key(f.folder_name),
           CASE WHEN t.path = '' THEN '' ELSE t.path || '/' END || f.folder_name, f.folder_name
      FROM found AS t
     CROSS JOIN root
      JOIN folders AS f ON f.user_id = $1 AND f.parent_id = t.folder_id AND f.trashed_at IS NULL
     WHERE starts_with(CASE WHEN t.path_key = '' THEN '' ELSE t.path_key || '/' END || shardrive.entry_key(f.folder_name) || '/', root.path_key)
        OR starts_with(root.path_key, CASE WHEN t.path_key = '' THEN '' ELSE t.path_key || '/' END || shardrive.entry_key(f.folder_name) || '/')
), matched AS (
    SELECT coalesce(w.path_key, t.path_key) AS path_key, coalesce(w.path, t.path) AS path, w.path IS NOT NULL AS is_wanted,
           t.folder_id, t.folder_name AS old_name
      FROM wanted AS w
      FULL JOIN found AS t ON t.path_key = w.path_key
)
INSERT INTO pg_temp.mirrored_folders
SELECT m.path_key, m.path, CASE WHEN m.path_key <> '' THEN coalesce(substring(m.path_key FROM '^(.*)/'), '') END,
       named.folder_name,
       coalesce(m.folder_id, CASE WHEN m.path_key = '' THEN '00000000-0000-0000-0000-000000000000'::uuid
                                  ELSE shardrive.new_id_of($1) END),
       m.folder_id IS NOT NULL, m.is_wanted,
       starts_with(m.path_key || '/', root.path_key) OR root.path_key = '',
       m.is_wanted AND starts_with(m.path_key || '/', root.path_key) AND m.path_key || '/' <> root.path_key
       AND coalesce(m.old_name <> named.folder_name, false)
  FROM matched AS m
 CROSS JOIN root
 CROSS JOIN LATERAL (SELECT substring(m.path FROM '[^/]*$') COLLATE "C" AS folder_name) AS named
