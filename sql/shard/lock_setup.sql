-- One set-up at a time; held until the connection ends. The statement does not wait: a waiting statement would keep the
-- lock's holder from finishing an index.
SELECT pg_try_advisory_lock(5040, 2)
