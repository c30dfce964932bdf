-- As list_children.sql, by descending names; empty names $6 and $7: from the last name on. A statement of its own, as
-- each branch of a statement costs a page its start, also a branch that gives no row.
WITH around AS MATERIALIZED (
    SELECT path FROM shardrive.folder_place($3, $4) WHERE is_live
), folder_page AS MATERIALIZED (
    SELECT nullif(shardrive.entry_key(f.folder_name), f.folder_name) AS name_key, f.folder_id, f.folder_name, f.version, f.created_at,
           f.updated_at, f.parent_id
      FROM around, folders AS f
     WHERE f.user_id = $3 AND f.parent_id = $4 AND f.trashed_at IS NULL
       AND shardrive.entry_key(f.folder_name) < CASE $6 WHEN '' THEN repeat(chr(1114111), 257) ELSE $6 END
     ORDER BY shardrive.entry_key(f.folder_name) DESC
     LIMIT $5
)
SELECT 0 AS kind, around.path AS name_key, f.folder_id, f.folder_name, f.version, NULL::text AS mime_type, NULL::text AS checksum,
       NULL::bigint AS size_bytes, NULL::timestamptz AS modified_at, f.created_at, f.updated_at, f.parent_id, NULL::text AS content_ref
  FROM shardrive.slot_map AS m
  LEFT JOIN around ON true
  LEFT JOIN folders AS f ON f.user_id = $3 AND f.folder_id = $4 AND around.path IS NOT NULL
 WHERE m.slot = $1 AND m.owner = $2
UNION ALL
SELECT 1, f.name_key, f.folder_id, f.folder_name, f.version, NULL, NULL, NULL, NULL, f.created_at, f.updated_at, f.parent_id, NULL
  FROM folder_page AS f
UNION ALL
(SELECT 2, nullif(shardrive.entry_key(f.file_name), f.file_name), f.file_id, f.file_name, f.version, f.mime_type, f.checksum,
        f.size_bytes, f.modified_at, f.created_at, f.updated_at, f.folder_id, f.content_ref
   FROM around, file_metadata AS f
  WHERE f.user_id = $3 AND f.folder_id = $4 AND f.trashed_at IS NULL
    AND shardrive.entry_key(f.file_name) < CASE $7 WHEN '' THEN repeat(chr(1114111), 257) ELSE $7 END
  ORDER BY shardrive.entry_key(f.file_name) DESC
  LIMIT $5 - (SELECT count(*) FROM folder_page))
