-- What removes the indexes of ours whose making broke off: they cost writers and serve nobody.
SELECT format('DROP INDEX CONCURRENTLY IF EXISTS %s', indexrelid::regclass)
  FROM pg_index
 WHERE NOT indisvalid AND indrelid IN (to_regclass('public.file_metadata'), to_regclass('public.records'))
