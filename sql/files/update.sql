-- Changes a file: of each pair the first says whether, the second to what. No row: the shard does not own the slot.
-- A row of nulls: no such file. The path follows a new name, and a path of null becomes the name.
-- With a user ($16), a file of another one is as one that is not there; with a state ($17), so is a file in another state.
WITH owned AS (
    SELECT slot FROM shardrive.slot_map WHERE slot = $1 AND owner = $2
), changed AS (
    UPDATE file_metadata AS f
       SET file_name   = CASE WHEN $4 THEN $5 ELSE f.file_name END,
           path        = CASE WHEN $6 THEN coalesce($7, CASE WHEN $4 THEN $5 ELSE f.file_name END)
                              WHEN $4 THEN left(f.path, length(f.path) - length(f.file_name)) || $5
                              ELSE f.path END,
           mime_type   = CASE WHEN $8 THEN $9 ELSE f.mime_type END,
           checksum    = CASE WHEN $10 THEN $11 ELSE f.checksum END,
           size_bytes  = CASE WHEN $12 THEN $13 ELSE f.size_bytes END,
           modified_at = CASE WHEN $14 THEN $15 ELSE f.modified_at END
      FROM owned
     WHERE f.file_id = $3 AND shardrive.slot_of(f.user_id) = owned.slot
       AND ($16::bigint IS NULL OR f.user_id = $16)
       AND ($17::text IS NULL OR f::text = $17)
    RETURNING f.*
)
SELECT c.file_id, c.file_name, c.path, c.mime_type, c.checksum, c.size_bytes, c.modified_at, c.created_at, c.updated_at,
       c.user_id
  FROM owned
  LEFT JOIN changed AS c ON true
