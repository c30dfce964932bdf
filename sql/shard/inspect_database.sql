-- Identifies this database, independent of the URL, and tells whether the database is set up.
-- Servers copied from the same image have the same system identifier, but start at different times.
SELECT concat_ws('/', (SELECT system_identifier FROM pg_control_system()),
                 extract(epoch FROM pg_postmaster_start_time()), d.oid)               AS database_key,
       to_regclass('shardrive._sqlx_migrations') IS NOT NULL                         AS has_migrations,
       to_regclass('shardrive.identity') IS NOT NULL                                 AS has_identity,
       to_regclass('public.file_metadata') IS NOT NULL                               AS has_files,
       pg_is_in_recovery()                                                           AS is_standby,
       current_setting('server_version_num')::int                                    AS server_version
  FROM pg_database AS d
 WHERE d.datname = current_database()
