-- Changes a batch of files; gives the changed ones. The name changes where one is given; of the other pairs of
-- parameters, the first says whether to change.
--
-- Nobody waits here: a row that another transaction holds is left out, and so is a new name in a drive that another one
-- holds alone. The trigger holds the drive of such a name as well, and would wait. A held row keeps its place (ctid),
-- so that it is not looked for again.
WITH wanted AS (
    SELECT *
      FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::boolean[], $5::text[], $6::boolean[], $7::text[],
                  $8::boolean[], $9::bigint[], $10::boolean[], $11::timestamptz[], $12::boolean[], $13::text[])
        AS w (user_id, file_id, file_name, sets_type, mime_type, sets_checksum, checksum, sets_size, size_bytes,
              sets_time, modified_at, sets_ref, content_ref)
), held AS MATERIALIZED (
    SELECT w.*, f.ctid AS place
      FROM wanted AS w
      JOIN file_metadata AS f USING (user_id, file_id)
     WHERE (w.file_name IS NULL OR f.folder_id IS NULL
            OR pg_try_advisory_xact_lock_shared(5042, shardrive.slot_of(f.user_id) % 256))
       FOR NO KEY UPDATE OF f SKIP LOCKED
), changed AS (
    UPDATE file_metadata AS f
       SET file_name   = coalesce(h.file_name, f.file_name),
           mime_type   = CASE WHEN h.sets_type THEN h.mime_type ELSE f.mime_type END,
           checksum    = CASE WHEN h.sets_checksum THEN h.checksum ELSE f.checksum END,
           size_bytes  = CASE WHEN h.sets_size THEN h.size_bytes ELSE f.size_bytes END,
           modified_at = CASE WHEN h.sets_time THEN h.modified_at ELSE f.modified_at END,
           content_ref = CASE WHEN h.sets_ref THEN h.content_ref ELSE f.content_ref END
      FROM held AS h
     WHERE f.ctid = h.place
    RETURNING f.*
)
SELECT c.file_id, c.file_name, c.folder_id, around.path || c.file_name AS path, c.mime_type, c.checksum, c.size_bytes,
       c.modified_at, c.created_at, c.updated_at,
       c.trashed_at IS NOT NULL OR (c.folder_id IS NOT NULL AND around.is_live IS NOT TRUE), c.content_ref, c.user_id
  FROM changed AS c
  LEFT JOIN LATERAL shardrive.folder_place(c.user_id, c.folder_id) AS around ON c.folder_id IS NOT NULL
