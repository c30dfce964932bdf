-- Keeps a set-up from changing the schema until this transaction ends; false while a set-up is under way.
SELECT pg_try_advisory_xact_lock_shared(5040, 2)
