-- One snapshot for the whole audit, and no time limit: it reads every row.
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY
