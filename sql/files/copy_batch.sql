-- As load_batch and load_listing, at the speed of COPY; the whole batch fails if any row is there already.
COPY file_metadata (user_id, file_id, file_name, folder_id, mime_type, checksum, size_bytes, modified_at, content_ref)
FROM STDIN WITH (FORMAT binary)
