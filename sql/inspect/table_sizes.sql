-- Tables and indexes by their size on the disk; dead rows are what vacuum has yet to clear.
SELECT c.oid::regclass                               AS name,
       CASE c.relkind WHEN 'i' THEN 'index of ' || x.indrelid::regclass ELSE 'table' END AS kind,
       pg_size_pretty(pg_relation_size(c.oid))       AS size,
       c.reltuples::bigint                           AS estimated_rows,
       s.n_dead_tup                                  AS dead_rows,
       s.last_autovacuum
  FROM pg_class AS c
  JOIN pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_index AS x ON x.indexrelid = c.oid
  LEFT JOIN pg_stat_user_tables AS s ON s.relid = c.oid
 WHERE n.nspname IN ('public', 'shardrive')
   AND c.relkind IN ('r', 'i')
 ORDER BY pg_relation_size(c.oid) DESC, name;
