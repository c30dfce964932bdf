-- Marks the files of a listing whose path the listing gives to another entry as well: the first file has the path, and a folder comes
-- before files. Returns where the first of them stand, and how many there are.
WITH keyed AS MATERIALIZED (
    SELECT record, shardrive.entry_key(CASE WHEN around = '' THEN entry_name ELSE around || '/' || entry_name END) AS path_key
      FROM pg_temp.listing
     WHERE NOT is_folder
), twice AS (
    SELECT path_key, min(record) AS kept FROM keyed GROUP BY path_key HAVING count(*) > 1
), faults AS (
    SELECT k.record, 'stands in the listing already, and a path holds one file' AS fault
      FROM keyed AS k
      JOIN twice AS t ON t.path_key = k.path_key AND k.record > t.kept
     UNION
    SELECT k.record, 'is the path of a folder of the listing'
      FROM keyed AS k
      JOIN pg_temp.mirrored_folders AS f ON f.path_key = k.path_key AND f.is_wanted
), marked AS (
    UPDATE pg_temp.listing AS l
       SET fault = f.fault
      FROM faults AS f
     WHERE l.record = f.record
    RETURNING l.record, l.line, l.fault
)
SELECT record, line, fault, count(*) OVER () FROM marked ORDER BY record LIMIT $1
