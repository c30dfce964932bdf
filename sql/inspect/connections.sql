-- Who is connected to this database, by application and state, with the longest transaction and what is waited for.
SELECT coalesce(nullif(application_name, ''), '(no name)')        AS application,
       usename                                                    AS role,
       state,
       count(*)                                                   AS connections,
       count(*) FILTER (WHERE wait_event_type = 'Lock')           AS waiting_for_a_lock,
       date_trunc('second', max(clock_timestamp() - xact_start))  AS longest_transaction
  FROM pg_stat_activity
 WHERE datname = current_database()
   AND pid <> pg_backend_pid()
 GROUP BY 1, 2, 3
 ORDER BY connections DESC, application, state;
