-- Waits for changes of the drive's paths, and keeps others waiting. The lock alone writes nothing: the guard's lock,
-- for which a change of owners waits, comes with the first written row.
SELECT tree_version FROM folders WHERE user_id = $1 AND parent_id IS NULL AND folder_id = '00000000-0000-0000-0000-000000000000' FOR UPDATE
