-- Keeps the outbox within its bound; gives how many events were dropped now.
SELECT shardrive.bound_outbox($1, $2 * interval '1 s')
