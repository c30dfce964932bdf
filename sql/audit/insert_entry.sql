-- Records an action, usually before the action begins. A repeated statement after a broken connection adds nothing.
INSERT INTO shardrive.audit_log (id, actor, scope, source, request_id, act, details, outcome, code, ended_at, keep_until)
VALUES ($1, $2, $3, $4::text::inet, $5, $6, $7, $8, $9,
        CASE WHEN $8 <> 'begun' THEN clock_timestamp() END, clock_timestamp() + make_interval(days => $10))
    ON CONFLICT (id) DO NOTHING
