-- How often a subscription met an error.
SELECT (apply_error_count + sync_error_count)::bigint FROM pg_stat_subscription_stats WHERE subname = $1
