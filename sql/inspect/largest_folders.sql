-- The thirty largest folders by the bytes of the files right in them. The empty name is the top of a drive; no name: no
-- folder.
SELECT f.user_id, rtrim(shardrive.folder_path(f.user_id, f.folder_id), '/') AS folder, f.files,
       pg_size_pretty(f.bytes) AS size
  FROM (
        SELECT user_id, folder_id, count(*) AS files, coalesce(sum(size_bytes), 0) AS bytes
          FROM file_metadata
         GROUP BY user_id, folder_id
         ORDER BY 4 DESC, 3 DESC, 1, 2
         LIMIT 30
       ) AS f
 ORDER BY f.bytes DESC, f.files DESC, f.user_id, folder;
