-- The lease of the coordinator, held until the session ends. A session that says nothing for a few seconds ends, so that
-- a coordinator that was frozen does not keep it.
SELECT pg_try_advisory_lock(5040, 5) AND set_config('idle_session_timeout', $1, false) <> ''
