-- Takes a part of a listing.
COPY pg_temp.listing (record, line, file_id, around, entry_name, is_folder, mime_type, checksum, size_bytes, modified_at)
FROM STDIN WITH (FORMAT binary)
