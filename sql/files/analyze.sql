-- Tells the planner how large the tables are by now; all sessions plan their statements anew (PostgreSQL manual,
-- "ANALYZE").
ANALYZE (SKIP_LOCKED) file_metadata, folders
