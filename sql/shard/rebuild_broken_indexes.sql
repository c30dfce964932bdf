-- The statements that rebuild broken indexes of this program's schema; $1 is the schema's text. Any other index is an
-- operator's, perhaps still being built.
SELECT format('REINDEX INDEX CONCURRENTLY %s', indexrelid::regclass)
  FROM pg_index
  JOIN pg_class ON pg_class.oid = indexrelid
 WHERE NOT indisvalid
   AND relnamespace IN (to_regnamespace('public'), to_regnamespace('shardrive'))
   AND strpos($1, format(' %s ON ', relname)) > 0
