-- The folders of a batch of paths, each of a user, with every folder on the way that is missing: in the order of the
-- users, as shardrive.make_folders_at() asks. $3 and $4 are what this statement has said of a path before: the folder
-- is the same one if no folder of the drive was renamed, moved or put into the trash since, and it is still there.
-- NULL: nothing is known. $5: the transaction holds the drives already (hold_drives).
WITH drives AS MATERIALIZED (
    SELECT root.user_id, root.tree_version
      FROM (SELECT DISTINCT user_id FROM unnest($1::bigint[]) AS u (user_id)) AS wanted
      JOIN folders AS root ON root.user_id = wanted.user_id AND root.folder_id = '00000000-0000-0000-0000-000000000000'
), found AS MATERIALIZED (
    SELECT d.user_id, d.path, d.place, coalesce(drives.tree_version, 1) AS tree_version,
           CASE WHEN known.folder_id IS NOT NULL THEN known.folder_id
                ELSE (SELECT f.folder_id
                        FROM shardrive.find_folder(d.user_id, coalesce(string_to_array(d.path, '/'), '{}')) AS f) END AS folder_id
      FROM unnest($1::bigint[], $2::text[], $3::uuid[], $4::bigint[]) WITH ORDINALITY
        AS d (user_id, path, known_id, known_version, place)
      LEFT JOIN drives USING (user_id)
      LEFT JOIN LATERAL (
            SELECT k.folder_id
              FROM folders AS k
             WHERE k.user_id = d.user_id AND k.folder_id = d.known_id AND d.known_version = drives.tree_version
             LIMIT 1
           ) AS known ON true
), missing AS MATERIALIZED (
    SELECT array_agg(place ORDER BY place) AS places,
           shardrive.make_folders_at(array_agg(user_id ORDER BY place), array_agg(path ORDER BY place), $5) AS folder_ids
      FROM found
     WHERE folder_id IS NULL
    HAVING count(*) > 0
), made AS (
    SELECT m.place, m.folder_id FROM missing, unnest(places, folder_ids) AS m (place, folder_id)
)
SELECT coalesce(found.folder_id, made.folder_id), found.tree_version
  FROM found
  LEFT JOIN made USING (place)
 ORDER BY place
