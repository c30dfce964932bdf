-- True if the database has rows, which a new shard must not have.
SELECT EXISTS (SELECT FROM public.file_metadata)
