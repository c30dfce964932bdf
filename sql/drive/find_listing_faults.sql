-- Marks the files of a listing whose path the listing gives to another entry as well: the first file has the path, and
-- a folder comes before files. Returns where the first of them stand, and how many there are.
WITH files AS NOT MATERIALIZED (
    SELECT l.record, l.line, around.folder_id AS parent_id, shardrive.entry_key(l.file_name) AS name_key
      FROM pg_temp.listing AS l
      JOIN pg_temp.listed_folders AS around ON around.folder = l.folder
), folders AS (
    SELECT around.folder_id AS parent_id, shardrive.entry_key(f.folder_name) AS name_key
      FROM pg_temp.mirrored_folders AS f
      JOIN pg_temp.mirrored_folders AS around ON around.path_key = f.parent_key
     WHERE f.is_wanted
), twice AS MATERIALIZED (
    -- The records and the lines of a listing begin at 1.
    SELECT parent_id, name_key, min(record) AS kept, min(line) AS line
      FROM (SELECT * FROM files UNION ALL SELECT 0, 0, * FROM folders) AS entry
     GROUP BY parent_id, name_key
    HAVING count(*) > 1
), marked AS (
    UPDATE pg_temp.listing AS l
       SET fault = CASE WHEN t.kept = 0 THEN 'is the path of a folder of the listing'
                        ELSE 'stands on line ' || t.line || ' already, and a path holds one file' END
      FROM twice AS t
      JOIN files AS f ON f.parent_id = t.parent_id AND f.name_key = t.name_key AND f.record > t.kept
     WHERE l.record = f.record
    RETURNING l.record, l.line, l.fault
)
SELECT record, line, fault, count(*) OVER () FROM marked ORDER BY record LIMIT $1
