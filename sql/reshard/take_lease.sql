-- The lease of the coordinator, until the session ends. The server ends a session that is silent for a few seconds, so
-- that a stopped coordinator does not keep the lease.
SELECT pg_try_advisory_lock(5040, 5) AND set_config('idle_session_timeout', $1, false) <> ''
