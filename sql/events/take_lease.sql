-- The right to relay the events of this shard, held until the session ends; one that says nothing for a few seconds ends.
SELECT pg_try_advisory_lock(5040, 6) AND set_config('idle_session_timeout', $1, false) <> ''
