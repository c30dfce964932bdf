-- How many events of these slots wait to be published, the kind of the oldest, and for how many seconds it has waited.
SELECT count(*), (array_agg(kind ORDER BY id))[1], coalesce(extract(epoch FROM clock_timestamp() - min(at)), 0)::bigint
  FROM shardrive.outbox
 WHERE slot = ANY ($1)
