-- As load_listing, at the speed of COPY; the whole batch fails if any path was imported before.
COPY file_metadata (user_id, file_id, file_name, path, mime_type, checksum, size_bytes, modified_at, listed)
FROM STDIN WITH (FORMAT binary)
