-- The right to relay this shard's events, held until the session ends; a silent session ends after a few seconds.
SELECT pg_try_advisory_lock(5040, 6) AND set_config('idle_session_timeout', $1, false) <> ''
