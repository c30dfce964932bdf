-- Whether any file of a batch would have the name of a folder beside it. Most folders that files go into hold no folder, which one look
-- for each folder tells.
WITH batch AS MATERIALIZED (
    SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::text[]) AS b (user_id, folder_id, file_name)
), parents AS MATERIALIZED (
    SELECT p.user_id, p.folder_id
      FROM (SELECT DISTINCT user_id, folder_id FROM batch WHERE folder_id IS NOT NULL) AS p
     CROSS JOIN LATERAL (
            -- The order keeps to the index: the planner takes the first folder for near, and would look for it in the whole table.
            SELECT FROM folders
             WHERE user_id = p.user_id AND parent_id = p.folder_id AND trashed_at IS NULL
             ORDER BY shardrive.entry_key(folder_name)
             LIMIT 1
           ) AS inside
)
SELECT EXISTS (
    SELECT FROM parents AS p
      JOIN batch AS b USING (user_id, folder_id)
     CROSS JOIN LATERAL (
            SELECT FROM folders AS f
             WHERE f.user_id = b.user_id AND f.parent_id = b.folder_id AND f.trashed_at IS NULL
               AND shardrive.entry_key(f.folder_name) = shardrive.entry_key(b.file_name)
             LIMIT 1
           ) AS same
)
