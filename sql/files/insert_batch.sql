-- Stores a batch of files, each once: the answer leaves out rows whose user has the id already.
INSERT INTO file_metadata (user_id, file_id, file_name, path, mime_type, checksum, size_bytes, modified_at)
SELECT *
  FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::timestamptz[])
ON CONFLICT (user_id, file_id) DO NOTHING
RETURNING user_id, file_id, created_at
