-- Counts the differences of a mirror of the folder $1, the folders of the listing that are there, and the files of the
-- listing.
SELECT count(*) FILTER (WHERE change = 'create' AND is_folder), count(*) FILTER (WHERE change = 'create' AND NOT is_folder),
       count(*) FILTER (WHERE change = 'update' AND is_folder), count(*) FILTER (WHERE change = 'update' AND NOT is_folder),
       count(*) FILTER (WHERE change = 'delete' AND is_folder), count(*) FILTER (WHERE change = 'delete' AND NOT is_folder),
       (SELECT count(*) FROM pg_temp.mirrored_folders
         WHERE is_wanted AND is_there AND is_inside AND path_key <> shardrive.entry_key($1)),
       (SELECT count(*) FROM pg_temp.listing WHERE fault IS NULL)
  FROM pg_temp.mirror_changes
