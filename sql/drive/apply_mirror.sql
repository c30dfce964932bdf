-- Makes the drive of a user what the listing says, by one statement: the guard looks at the owner when all rows are
-- written. A deleted folder takes all below with it, so that the trash gets its row alone; with $2 the rows of all that
-- is deleted go for good.
WITH RECURSIVE root AS (
    INSERT INTO folders AS f (user_id, folder_id, folder_name, tree_version)
    SELECT $1, '00000000-0000-0000-0000-000000000000', '', 1
    ON CONFLICT (user_id, folder_id) DO UPDATE SET tree_version = f.tree_version + 1
     WHERE EXISTS (SELECT FROM pg_temp.mirror_changes WHERE is_folder AND change <> 'create')
), made_folders AS (
    INSERT INTO folders (user_id, folder_id, parent_id, folder_name)
    SELECT $1, c.entry_id, c.folder_id, c.entry_name
      FROM pg_temp.mirror_changes AS c
     WHERE c.is_folder AND c.change = 'create'
), renamed_folders AS (
    UPDATE folders AS f SET folder_name = c.entry_name
      FROM pg_temp.mirror_changes AS c
     WHERE c.is_folder AND c.change = 'update' AND f.user_id = $1 AND f.folder_id = c.entry_id
), trashed_folders AS (
    UPDATE folders AS f SET trashed_at = now()
      FROM pg_temp.mirror_changes AS c
     WHERE NOT $2 AND c.is_folder AND c.change = 'delete' AND c.is_top AND f.user_id = $1 AND f.folder_id = c.entry_id
), trashed_files AS (
    UPDATE file_metadata AS f SET trashed_at = now()
      FROM pg_temp.mirror_changes AS c
     WHERE NOT $2 AND NOT c.is_folder AND c.change = 'delete' AND c.is_top AND f.user_id = $1 AND f.file_id = c.entry_id
), purged (folder_id) AS (
    SELECT c.entry_id FROM pg_temp.mirror_changes AS c WHERE $2 AND c.is_folder AND c.change = 'delete' AND c.is_top
    UNION ALL
    -- Also what was in the trash before.
    SELECT f.folder_id FROM purged AS p JOIN folders AS f ON f.user_id = $1 AND f.parent_id = p.folder_id
), purged_folders AS (
    DELETE FROM folders AS f USING purged AS p WHERE f.user_id = $1 AND f.folder_id = p.folder_id
), purged_files AS (
    DELETE FROM file_metadata AS f
     USING (SELECT c.entry_id AS file_id FROM pg_temp.mirror_changes AS c
             WHERE $2 AND NOT c.is_folder AND c.change = 'delete' AND c.is_top
            UNION ALL
            SELECT k.file_id FROM purged AS p JOIN file_metadata AS k ON k.user_id = $1 AND k.folder_id = p.folder_id) AS gone
     WHERE f.user_id = $1 AND f.file_id = gone.file_id
), changed_files AS (
    UPDATE file_metadata AS f
       SET file_name = c.entry_name, mime_type = c.mime_type, checksum = c.checksum, size_bytes = c.size_bytes,
           modified_at = c.modified_at,
           -- An old place of the content does not stand beside a new content.
           content_ref = CASE WHEN (c.checksum, c.size_bytes, c.modified_at) IS NOT DISTINCT FROM (f.checksum, f.size_bytes, f.modified_at)
                              THEN f.content_ref END
      FROM pg_temp.mirror_changes AS c
     WHERE NOT c.is_folder AND c.change = 'update' AND f.user_id = $1 AND f.file_id = c.entry_id
)
INSERT INTO file_metadata (user_id, file_id, file_name, folder_id, mime_type, checksum, size_bytes, modified_at)
SELECT $1, c.entry_id, c.entry_name, c.folder_id, c.mime_type, c.checksum, c.size_bytes, c.modified_at
  FROM pg_temp.mirror_changes AS c
 WHERE NOT c.is_folder AND c.change = 'create'
