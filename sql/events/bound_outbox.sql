-- Keeps the outbox within its bound; returns the number of events dropped now.
SELECT shardrive.bound_outbox($1, $2 * interval '1 s')
