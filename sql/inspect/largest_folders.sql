-- The thirty largest folders by the bytes of the files right in them. The empty name is the top of a drive.
SELECT user_id,
       CASE WHEN strpos(coalesce(path, ''), '/') = 0 THEN ''
            ELSE left(path, length(path) - length(file_name) - 1)
       END                                          AS folder,
       count(*)                                     AS files,
       pg_size_pretty(coalesce(sum(size_bytes), 0)) AS size
  FROM file_metadata
 GROUP BY 1, 2
 ORDER BY coalesce(sum(size_bytes), 0) DESC, files DESC, user_id, folder
 LIMIT 30;
