-- As load_batch, at the speed of COPY; the whole batch fails if any user has the id of a row already.
COPY file_metadata (user_id, file_id, file_name, path, mime_type, checksum, size_bytes, modified_at)
FROM STDIN WITH (FORMAT binary)
