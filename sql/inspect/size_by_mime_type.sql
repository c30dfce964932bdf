-- Files and bytes by type, the largest share first.
SELECT coalesce(mime_type, '(unknown)')                                AS mime_type,
       count(*)                                                        AS files,
       pg_size_pretty(coalesce(sum(size_bytes), 0))                    AS size,
       round(100 * coalesce(sum(size_bytes), 0) / nullif(sum(sum(size_bytes)) OVER (), 0), 1) AS percent_of_bytes,
       pg_size_pretty(avg(size_bytes)::bigint)                         AS average
  FROM file_metadata
 GROUP BY mime_type
 ORDER BY coalesce(sum(size_bytes), 0) DESC, files DESC
 LIMIT 50;
