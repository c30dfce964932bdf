-- What removes the indexes of ours whose making broke off: they cost writers and serve nobody. By their names: somebody may be
-- making one of their own on these tables.
SELECT format('DROP INDEX CONCURRENTLY IF EXISTS %s', indexrelid::regclass)
  FROM pg_index
 WHERE NOT indisvalid
   AND indexrelid IN (to_regclass('public.file_metadata_slot_idx'), to_regclass('public.records_slot_idx'))
