-- The audit log: who did what to the cluster, when and from where (docs/decisions/0025-audit.md). Everything is added;
-- programs of the release before go on working beside it, and note nothing.

-- Acts on the cluster as a whole. Like the moves (0006_moves.sql) they are kept on shard 0; on the others this stays empty.
CREATE TABLE shardrive.audit_log (
    id         uuid        PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Whom the token names, or the operating system's user and host.
    actor      text        NOT NULL,
    -- The token's scope; 'without sign-in', 'command line'.
    scope      text        NOT NULL,
    source     inet,
    request_id text,
    act        text        NOT NULL,
    details    jsonb       NOT NULL,
    -- 'begun' until it has ended; for ever, if its process did not live to say how.
    outcome    text        NOT NULL DEFAULT 'begun' CHECK (outcome IN ('begun', 'accepted', 'refused', 'failed')),
    -- Why it was refused, or failed.
    code       text,
    ended_at   timestamptz,
    -- Set by whoever adds the row, by AUDIT_KEEP_DAYS of that time.
    keep_until timestamptz NOT NULL
);
REVOKE ALL ON shardrive.audit_log FROM PUBLIC;
COMMENT ON TABLE shardrive.audit_log IS 'Acts of operators; rows are added, get their outcome once, and go when their time is over.';
CREATE INDEX audit_log_at ON shardrive.audit_log (at, id);
CREATE INDEX audit_log_keep_until ON shardrive.audit_log (keep_until);

-- Against slips and against a service that was taken over by others; whoever owns the table can switch it off.
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
