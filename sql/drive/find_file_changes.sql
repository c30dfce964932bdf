-- Notes which files a mirror makes, changes and, with $2, deletes. What the listing leaves out of a file stays, but an old checksum not
-- beside a new size or time.
WITH listed AS (
    SELECT l.*, f.folder_id, f.path AS folder_path
      FROM pg_temp.listing AS l
      JOIN pg_temp.mirrored_folders AS f ON f.path_key = shardrive.entry_key(l.around)
     WHERE NOT l.is_folder AND l.fault IS NULL
), known AS (
    SELECT k.*, f.path AS folder_path, f.is_wanted AS is_folder_wanted
      FROM pg_temp.mirrored_folders AS f
      JOIN file_metadata AS k ON k.user_id = $1 AND k.folder_id = f.folder_id AND k.trashed_at IS NULL
     WHERE f.is_there AND f.is_inside
), compared AS (
    SELECT CASE WHEN k.file_id IS NULL THEN 'create' WHEN l.file_id IS NULL THEN 'delete' ELSE 'update' END AS change,
           coalesce(k.file_id, l.file_id) AS file_id, coalesce(l.folder_id, k.folder_id) AS folder_id,
           coalesce(l.folder_path, k.folder_path) AS folder_path, coalesce(l.entry_name, k.file_name) AS entry_name,
           coalesce(k.is_folder_wanted, true) AS is_top,
           coalesce(l.mime_type, k.mime_type) AS mime_type, coalesce(l.size_bytes, k.size_bytes) AS size_bytes,
           coalesce(l.modified_at, k.modified_at) AS modified_at,
           CASE WHEN l.checksum IS NULL
                 AND coalesce(l.size_bytes, k.size_bytes) IS NOT DISTINCT FROM k.size_bytes
                 AND coalesce(l.modified_at, k.modified_at) IS NOT DISTINCT FROM k.modified_at
                THEN k.checksum ELSE l.checksum END AS checksum,
           k.file_name AS old_name, k.mime_type AS old_mime_type, k.checksum AS old_checksum, k.size_bytes AS old_size_bytes,
           k.modified_at AS old_modified_at
      FROM listed AS l
      FULL JOIN known AS k
        ON k.folder_id = l.folder_id AND shardrive.entry_key(k.file_name) = shardrive.entry_key(l.entry_name)
)
INSERT INTO pg_temp.mirror_changes
       (change, is_folder, path, entry_id, folder_id, entry_name, mime_type, checksum, size_bytes, modified_at, is_top)
SELECT c.change, false, CASE WHEN c.folder_path = '' THEN '' ELSE c.folder_path || '/' END || c.entry_name,
       c.file_id, c.folder_id, c.entry_name, c.mime_type, c.checksum, c.size_bytes, c.modified_at, c.is_top
  FROM compared AS c
 WHERE c.change = 'create'
    OR (c.change = 'delete' AND $2)
    OR (c.change = 'update'
        AND (c.entry_name, c.mime_type, c.checksum, c.size_bytes, c.modified_at)
            IS DISTINCT FROM (c.old_name, c.old_mime_type, c.old_checksum, c.old_size_bytes, c.old_modified_at))
