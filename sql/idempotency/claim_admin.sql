-- Begins an act, unless its key is there already: a row says that the caller may do it. One that was begun by somebody
-- who did not end it in time may be done anew.
INSERT INTO shardrive.admin_keys AS a (key, request, running_until)
VALUES ($1, $2, clock_timestamp() + interval '2 minutes')
    ON CONFLICT (key) DO UPDATE
   SET request = EXCLUDED.request, status = NULL, body = NULL, running_until = EXCLUDED.running_until, created_at = now()
 WHERE a.created_at <= now() - interval '24 hours'
    OR (a.status IS NULL AND a.running_until <= clock_timestamp() AND a.request = EXCLUDED.request)
RETURNING a.key
