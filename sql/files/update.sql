-- Changes a user's file: of each pair of parameters, whether to change and the new value. No row: the shard does not
-- own the slot. A row of nulls: no such file. A new path ($8) puts the file into the folder of the path, and a path of
-- null takes the file out of every folder. With a state ($19), a file in another state counts as missing.
WITH owned AS (
    SELECT slot FROM shardrive.slot_map WHERE slot = $1 AND owner = $2
), changed AS (
    UPDATE file_metadata AS f
       SET file_name   = CASE WHEN $5 THEN $6 ELSE f.file_name END,
           folder_id   = CASE WHEN $7 THEN shardrive.place_file(f.user_id, $8)
                              ELSE f.folder_id END,
           mime_type   = CASE WHEN $9 THEN $10 ELSE f.mime_type END,
           checksum    = CASE WHEN $11 THEN $12 ELSE f.checksum END,
           size_bytes  = CASE WHEN $13 THEN $14 ELSE f.size_bytes END,
           modified_at = CASE WHEN $15 THEN $16 ELSE f.modified_at END,
           content_ref = CASE WHEN $17 THEN $18 ELSE f.content_ref END
      FROM owned
     WHERE f.user_id = $3 AND f.file_id = $4
       AND ($19::text IS NULL OR f::text = $19)
    RETURNING f.*
)
SELECT c.file_id, c.file_name, c.folder_id,
       -- The statement itself may have made the folders of a new path.
       CASE WHEN $7 THEN shardrive.file_path_now(c.user_id, c.folder_id, c.file_name) ELSE around.path || c.file_name END,
       c.mime_type, c.checksum, c.size_bytes, c.modified_at, c.created_at, c.updated_at,
       c.trashed_at IS NOT NULL OR around.is_live IS FALSE, c.content_ref, c.user_id
  FROM owned
  LEFT JOIN changed AS c ON true
  LEFT JOIN LATERAL shardrive.folder_place(c.user_id, c.folder_id) AS around ON c.folder_id IS NOT NULL AND NOT $7
