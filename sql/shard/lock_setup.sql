-- One set-up at a time; held until the connection ends.
SELECT pg_advisory_lock(5040, 2)
