-- The number of the server's next transaction that writes.
SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint
