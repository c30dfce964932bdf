-- The outcomes of requests with an Idempotency-Key, kept for a day: a repeated request gets the answer of the first
-- request (docs/decisions/0023-idempotency.md).

CREATE TABLE shardrive.idempotency_keys (
    -- Where the change was made: the record moves with its slot.
    slot       int              NOT NULL CHECK (slot BETWEEN 0 AND 5039),
    -- A hash of the caller and the key.
    key        shardrive.row_id NOT NULL,
    -- A hash of method, path and body.
    request    uuid             NOT NULL,
    -- The shard that answered.
    shard_id   int              NOT NULL,
    -- The material of the answer, besides the request; JSON.
    outcome    text             NOT NULL,
    created_at timestamptz      NOT NULL DEFAULT now(),

    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (slot, key)
) WITH (autovacuum_vacuum_scale_factor = 0.05);
COMMENT ON TABLE shardrive.idempotency_keys IS 'Requests with an Idempotency-Key of the last 24 hours, and their outcome.';

-- Rows come and go in the order of their times: a few pages do, where a btree would cost every insert.
CREATE INDEX idempotency_keys_created_at ON shardrive.idempotency_keys USING brin (created_at) WITH (pages_per_range = 16);

-- The guard, as for files and documents; without counts.
CREATE FUNCTION shardrive.idempotency_keys_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    changed_slots int[];
    is_free       boolean;
    has_entered   boolean := shardrive.enter_write();
BEGIN
    IF TG_OP = 'INSERT' THEN
        -- Mostly all slots are this shard's, and none is on the move.
        SELECT bool_and(get_bit((SELECT owned FROM shardrive.coverage), slot) = 1
                        AND NOT EXISTS (SELECT FROM shardrive.local_moves AS l WHERE get_bit(l.slots, slot) = 1))
          INTO is_free
          FROM new_rows;
        IF is_free THEN
            RETURN NULL;
        END IF;
        SELECT array_agg(DISTINCT slot) INTO changed_slots FROM new_rows;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(DISTINCT slot) INTO changed_slots FROM old_rows;
    ELSE
        SELECT array_agg(DISTINCT slot) INTO changed_slots
          FROM (SELECT slot FROM old_rows UNION ALL SELECT slot FROM new_rows) AS both_sides;
    END IF;
    IF changed_slots IS NOT NULL AND shardrive.guard_slots(changed_slots, TG_OP = 'DELETE') THEN
        IF TG_OP <> 'DELETE' THEN
            INSERT INTO shardrive.changed_keys (move_id, table_name, key)
            SELECT l.move_id, TG_TABLE_NAME, ARRAY[n.slot::text, n.key::text]
              FROM new_rows AS n
              JOIN shardrive.local_moves AS l ON get_bit(l.slots, n.slot) = 1;
        END IF;
        IF TG_OP <> 'INSERT' THEN
            INSERT INTO shardrive.changed_keys (move_id, table_name, key)
            SELECT l.move_id, TG_TABLE_NAME, ARRAY[o.slot::text, o.key::text]
              FROM old_rows AS o
              JOIN shardrive.local_moves AS l ON get_bit(l.slots, o.slot) = 1;
        END IF;
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER idempotency_keys_inserted AFTER INSERT ON shardrive.idempotency_keys
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION shardrive.idempotency_keys_changed();
CREATE TRIGGER idempotency_keys_updated AFTER UPDATE ON shardrive.idempotency_keys
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION shardrive.idempotency_keys_changed();
CREATE TRIGGER idempotency_keys_deleted AFTER DELETE ON shardrive.idempotency_keys
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION shardrive.idempotency_keys_changed();

CREATE FUNCTION shardrive.idempotency_keys_truncated() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM shardrive.enter_truncate();
    RETURN NULL;
END
$$;

CREATE TRIGGER idempotency_keys_truncated AFTER TRUNCATE ON shardrive.idempotency_keys
    FOR EACH STATEMENT EXECUTE FUNCTION shardrive.idempotency_keys_truncated();

-- The same for /admin, whose actions concern the cluster rather than a slot. Shard 0 uses this table.
CREATE TABLE shardrive.admin_keys (
    key           uuid        PRIMARY KEY,
    request       uuid        NOT NULL,
    -- NULL: in progress.
    status        int,
    body          text,
    -- After this time the process is taken for dead, and the action may run again: each action finds what is done
    -- already.
    running_until timestamptz NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now()
);
