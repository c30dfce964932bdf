-- Is there anything in this database's tables that a new shard must not have?
SELECT EXISTS (SELECT FROM public.file_metadata)
