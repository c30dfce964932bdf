-- How many events wait at most (ids may have gaps), how many seconds the oldest has waited. How many events were ever
-- dropped, and the kind of the oldest.
SELECT coalesce((SELECT max(id) - min(id) + 1 FROM shardrive.outbox), 0)::bigint,
       coalesce((SELECT extract(epoch FROM clock_timestamp() - at) FROM shardrive.outbox ORDER BY id LIMIT 1), 0)::float8,
       (SELECT dropped_ever FROM shardrive.relay),
       (SELECT kind FROM shardrive.outbox ORDER BY id LIMIT 1)
