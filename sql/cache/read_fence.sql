-- The fence, whether the fence must stay closed, whether that time is about to end, when this server was started, and
-- whether it takes writes.
SELECT generation, server, map_version,
       closed_until > clock_timestamp()                        AS is_held,
       closed_until < clock_timestamp() + interval '1500 milliseconds' AS is_fading,
       (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint AS started,
       NOT current_setting('transaction_read_only')::boolean AS takes_writes
  FROM shardrive.cache_fence
