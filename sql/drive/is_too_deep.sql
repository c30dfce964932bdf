-- Whether a folder below a folder ($2) has a path of more than $4 names; the folder's own path has $3. Folders in the trash count.
WITH RECURSIVE below (folder_id, depth) AS (
    SELECT $2::uuid, $3::int
    UNION ALL
    SELECT f.folder_id, b.depth + 1
      FROM below AS b,
           -- The offset keeps the order of the join, as both halves have an index by the parent.
           LATERAL (
                SELECT folder_id FROM folders WHERE user_id = $1 AND parent_id = b.folder_id AND trashed_at IS NULL
                UNION ALL
                SELECT folder_id FROM folders WHERE user_id = $1 AND parent_id = b.folder_id AND trashed_at IS NOT NULL
                OFFSET 0
           ) AS f
     WHERE b.depth <= $4
)
SELECT EXISTS (SELECT FROM below WHERE depth > $4)
