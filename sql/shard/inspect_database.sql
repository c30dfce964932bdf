-- Identifies this database, independent of the URL, and tells whether the database is set up.
-- Servers copied from the same image have the same system identifier, but start at different times.
SELECT concat_ws('/', (SELECT system_identifier FROM pg_control_system()),
                 extract(epoch FROM pg_postmaster_start_time()), d.oid)               AS database_key,
       to_regclass('shardrive._sqlx_migrations') IS NOT NULL                         AS has_migrations,
       to_regclass('shardrive.identity') IS NOT NULL                                 AS has_identity,
       to_regclass('public.file_metadata') IS NOT NULL                               AS has_files,
       pg_is_in_recovery()                                                           AS is_standby,
       current_setting('server_version_num')::int                                    AS server_version,
       current_setting('server_encoding')                                            AS encoding,
       EXISTS (SELECT FROM pg_class AS c
                 JOIN pg_namespace AS n ON n.oid = c.relnamespace
                WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^(pg_|information_schema$|shardrive$)'
                  AND (n.nspname, c.relname) NOT IN (('public', 'file_metadata'), ('public', 'records'))
                  AND NOT EXISTS (SELECT FROM pg_depend AS e
                                   WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e'))
                                                                                      AS has_other_tables
  FROM pg_database AS d
 WHERE d.datname = current_database()
