-- The first differences of a mirror, by path.
SELECT change, is_folder, path FROM pg_temp.mirror_changes ORDER BY path, is_folder, change LIMIT $1
