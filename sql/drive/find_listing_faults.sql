-- Marks the files of a listing whose path the listing gives to another entry as well: the first file has the path, and a folder comes
-- before files. Returns where the first of them stand, and how many there are.
WITH keyed AS NOT MATERIALIZED (
    SELECT record, shardrive.entry_key(around) AS around_key, shardrive.entry_key(entry_name) AS name_key
      FROM pg_temp.listing
     WHERE NOT is_folder
), twice AS (
    SELECT around_key, name_key, min(record) AS kept FROM keyed GROUP BY around_key, name_key HAVING count(*) > 1
), faults AS (
    SELECT k.record, 'stands in the listing already, and a path holds one file' AS fault
      FROM keyed AS k
      JOIN twice AS t ON t.around_key = k.around_key AND t.name_key = k.name_key AND k.record > t.kept
     UNION
    SELECT k.record, 'is the path of a folder of the listing'
      FROM keyed AS k
      JOIN pg_temp.mirrored_folders AS f
        ON f.is_wanted AND f.parent_key = k.around_key AND shardrive.entry_key(f.folder_name) = k.name_key
), marked AS (
    UPDATE pg_temp.listing AS l
       SET fault = f.fault
      FROM faults AS f
     WHERE l.record = f.record
    RETURNING l.record, l.line, l.fault
)
SELECT record, line, fault, count(*) OVER () FROM marked ORDER BY record LIMIT $1
