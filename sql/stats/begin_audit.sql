-- One snapshot for the whole audit.
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY
