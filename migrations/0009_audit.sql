-- The audit log: who did what to the cluster, when and from where (docs/decisions/0025-audit.md).

-- Actions on the cluster as a whole. Shard 0 keeps the actions, like the moves; on other shards this table stays empty.
CREATE TABLE shardrive.audit_log (
    id         uuid        PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- The token's subject, or the operating system's user and host.
    actor      text        NOT NULL,
    -- The token's scope; 'without sign-in', 'command line'.
    scope      text        NOT NULL,
    source     inet,
    request_id text,
    act        text        NOT NULL,
    details    jsonb       NOT NULL,
    -- 'begun' until the action ends; for ever, if the process ended before the action.
    outcome    text        NOT NULL DEFAULT 'begun' CHECK (outcome IN ('begun', 'accepted', 'refused', 'failed')),
    -- Why the action was refused, or failed.
    code       text,
    ended_at   timestamptz,
    -- From the SHARDRIVE_AUDIT_KEEP_DAYS in force at the time of the entry.
    keep_until timestamptz NOT NULL
);
REVOKE ALL ON shardrive.audit_log FROM PUBLIC;
COMMENT ON TABLE shardrive.audit_log IS 'Operator actions; each row gets an outcome once, and goes when its time is over.';
CREATE INDEX audit_log_at ON shardrive.audit_log (at, id);
CREATE INDEX audit_log_keep_until ON shardrive.audit_log (keep_until);

-- Guards against slips, and against a hijacked service; the table's owner can switch the guard off.
CREATE FUNCTION shardrive.audit_log_guard() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    ending CONSTANT text[] := '{outcome,code,ended_at}';
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF OLD.keep_until <= clock_timestamp() THEN
            RETURN OLD;
        END IF;
    ELSIF TG_OP = 'UPDATE' THEN
        IF OLD.outcome = 'begun' AND to_jsonb(NEW) - ending = to_jsonb(OLD) - ending THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'the audit log is not changed: a row gets its outcome once, and goes when its time is over'
        USING ERRCODE = 'SD007';
END
$$;

CREATE TRIGGER audit_log_kept BEFORE UPDATE OR DELETE ON shardrive.audit_log
    FOR EACH ROW EXECUTE FUNCTION shardrive.audit_log_guard();
CREATE TRIGGER audit_log_not_emptied BEFORE TRUNCATE ON shardrive.audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION shardrive.audit_log_guard();
