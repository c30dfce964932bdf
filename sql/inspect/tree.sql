-- The tree of a user's folders with the number and the bytes of the files right in each: psql -v user=42 -f
-- sql/inspect/tree.sql
SELECT '/' || shardrive.folder_path(d.user_id, d.folder_id) AS folder, count(f.file_id) AS files,
       pg_size_pretty(coalesce(sum(f.size_bytes), 0)) AS size, NOT shardrive.is_live(d.user_id, d.folder_id) AS trashed
  FROM folders AS d
  LEFT JOIN file_metadata AS f ON f.user_id = d.user_id AND f.folder_id = d.folder_id AND f.trashed_at IS NULL
 WHERE d.user_id = :user
 GROUP BY d.user_id, d.folder_id
 ORDER BY folder;
