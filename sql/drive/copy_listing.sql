-- Takes a part of the files of a listing.
COPY pg_temp.listing (record, line, file_id, folder, file_name, mime_type, checksum, size_bytes, modified_at)
FROM STDIN WITH (FORMAT binary)
