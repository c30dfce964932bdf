-- Rows that copies in progress have brought into these tables.
SELECT coalesce(sum(tuples_processed), 0)::bigint
  FROM pg_stat_progress_copy
 WHERE command = 'COPY FROM' AND type = 'CALLBACK' AND relid = ANY ($1::text[]::regclass[])
   AND datname = current_database()
