-- Tells the planner how many folders there are.
ANALYZE pg_temp.mirrored_folders
