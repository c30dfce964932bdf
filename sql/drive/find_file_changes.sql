-- Notes which files a mirror makes, changes and, with $2, deletes. What the listing leaves out of a file stays, but an
-- old checksum not beside a new size or time.
WITH listed AS (
    SELECT l.*, around.folder_id
      FROM pg_temp.listing AS l
      JOIN pg_temp.listed_folders AS around ON around.folder = l.folder
     WHERE l.fault IS NULL
), known AS (
    SELECT k.*
      FROM pg_temp.mirrored_folders AS around
      JOIN file_metadata AS k ON k.user_id = $1 AND k.folder_id = around.folder_id AND k.trashed_at IS NULL
     WHERE around.is_there AND around.is_inside
), compared AS (
    SELECT CASE WHEN k.file_id IS NULL THEN 'create' WHEN l.file_id IS NULL THEN 'delete' ELSE 'update' END AS change,
           coalesce(k.file_id, l.file_id) AS file_id, coalesce(l.folder_id, k.folder_id) AS folder_id,
           coalesce(l.file_name, k.file_name) AS entry_name,
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
        ON k.folder_id = l.folder_id AND shardrive.entry_key(k.file_name) = shardrive.entry_key(l.file_name)
)
INSERT INTO pg_temp.mirror_changes
       (change, is_folder, path, entry_id, folder_id, entry_name, mime_type, checksum, size_bytes, modified_at, is_top)
SELECT c.change, false, CASE WHEN around.path = '' THEN '' ELSE around.path || '/' END || c.entry_name,
       c.file_id, c.folder_id, c.entry_name, c.mime_type, c.checksum, c.size_bytes, c.modified_at, around.is_wanted
  FROM compared AS c
  JOIN pg_temp.mirrored_folders AS around ON around.folder_id = c.folder_id
 WHERE c.change = 'create'
    OR (c.change = 'delete' AND $2)
    OR (c.change = 'update'
        AND (c.entry_name, c.mime_type, c.checksum, c.size_bytes, c.modified_at)
            IS DISTINCT FROM (c.old_name, c.old_mime_type, c.old_checksum, c.old_size_bytes, c.old_modified_at))
