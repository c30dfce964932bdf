-- The settings of a coordinator's session: time for long comparisons, one format of values as text, and no JIT
-- compilation, which the high costs after set_index_order would ask for.
SELECT set_config('statement_timeout', '60s', false),
       set_config('lock_timeout', '5s', false),
       set_config('idle_in_transaction_session_timeout', '10s', false),
       set_config('plan_cache_mode', 'auto', false),
       set_config('max_parallel_workers_per_gather', '0', false),
       set_config('jit', 'off', false),
       set_config('TimeZone', 'UTC', false),
       set_config('DateStyle', 'ISO', false),
       set_config('extra_float_digits', '1', false)
