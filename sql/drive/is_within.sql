-- Whether a folder ($2) is another folder ($3) or stands anywhere below it.
WITH RECURSIVE above (folder_id, parent_id, depth) AS (
    SELECT folder_id, parent_id, 0 FROM folders WHERE user_id = $1 AND folder_id = $2
    UNION ALL
    SELECT f.folder_id, f.parent_id, a.depth + 1
      FROM above AS a,
           LATERAL (SELECT * FROM folders WHERE user_id = $1 AND folder_id = a.parent_id LIMIT 1) AS f
     WHERE a.depth < 200
)
SELECT coalesce(bool_or(folder_id = $3), false) FROM above
