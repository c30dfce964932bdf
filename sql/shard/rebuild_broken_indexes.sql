-- What rebuilds the broken indexes of this program's schema, whose text $1 is. An index that the schema does not name is
-- an operator's, who may be making it at the moment.
SELECT format('REINDEX INDEX CONCURRENTLY %s', indexrelid::regclass)
  FROM pg_index
  JOIN pg_class ON pg_class.oid = indexrelid
 WHERE NOT indisvalid
   AND relnamespace IN (to_regnamespace('public'), to_regnamespace('shardrive'))
   AND strpos($1, format(' %s ON ', relname)) > 0
