-- Begins the transaction of a mirror: it may take as long as the service waits, and no one else makes folders of the
-- drive meanwhile. One row: whether the shard owns the slot ($1; this shard is $2), and whether this connection has the
-- staged listing.
SELECT EXISTS (SELECT FROM shardrive.slot_map WHERE slot = $1 AND owner = $2),
       to_regclass('pg_temp.mirror_changes') IS NOT NULL,
       set_config('statement_timeout', '10min', true) || set_config('work_mem', '64MB', true)
           -- A hash of all names takes a third of the time that two sorts take; compiling the statements takes longer
           -- than running them.
           || set_config('enable_mergejoin', 'off', true) || set_config('jit', 'off', true),
       pg_advisory_xact_lock(5041, hashint8($3))::text
