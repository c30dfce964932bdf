-- Files of a user with the same checksum, the most bytes first: psql -v user=42 -f sql/inspect/duplicates.sql
SELECT checksum, count(*) AS files, pg_size_pretty(sum(size_bytes)) AS size,
       array_agg(coalesce(shardrive.file_path(user_id, folder_id, file_name), file_name) ORDER BY created_at) AS paths
  FROM file_metadata
 WHERE user_id = :user AND checksum IS NOT NULL AND trashed_at IS NULL
 GROUP BY checksum
HAVING count(*) > 1
 ORDER BY sum(size_bytes) DESC NULLS LAST;
