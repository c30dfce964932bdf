-- Tells the planner how many folders there are.
ANALYZE pg_temp.listed_folders, pg_temp.mirrored_folders
