-- What a coordinator's session has: time for long copies and comparisons, and one way of writing values as text.
SELECT set_config('statement_timeout', '60s', false),
       set_config('lock_timeout', '5s', false),
       set_config('idle_in_transaction_session_timeout', '10s', false),
       set_config('plan_cache_mode', 'auto', false),
       set_config('TimeZone', 'UTC', false),
       set_config('DateStyle', 'ISO', false),
       set_config('extra_float_digits', '1', false)
