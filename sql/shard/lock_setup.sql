-- One set-up at a time; held until the connection ends. It does not wait: who waits within a statement keeps an index from
-- being finished that whoever has the lock is making.
SELECT pg_try_advisory_lock(5040, 2)
