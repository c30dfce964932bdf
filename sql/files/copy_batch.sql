-- As load_batch, at the speed of COPY; a row whose user has its id already makes it fail as a whole.
COPY file_metadata (user_id, file_id, file_name, path, mime_type, checksum, size_bytes, modified_at)
FROM STDIN WITH (FORMAT binary)
