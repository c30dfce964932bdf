-- One of the files whose ids are made of decimal digits; see rows.rs.
\set number random(1000, 1099)
\set slot random(0, 199) * 2 + 1000 + :shard
SELECT file_id, user_id, file_name, mime_type, checksum, size_bytes, modified_at, created_at, updated_at
  FROM file_metadata WHERE file_id = ('01900000' || :number::text || '7000800000' || :slot::text || '5d4c1e')::uuid;
