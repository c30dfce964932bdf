-- Takes a part of the folders of a listing.
COPY pg_temp.listed_folders (folder, path)
FROM STDIN WITH (FORMAT binary)
