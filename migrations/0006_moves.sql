-- Growing and moving: which shards there are, and what a shard and the coordinator keep while slots change hands.
--
-- Everything is added; programs of the release before go on working beside it.

-- Where each shard is, kept on every shard, so that a process learns of a new one without a new setting. The URL holds
-- a password: nobody but the service's own role reads this.
CREATE TABLE shardrive.shards (
    shard_id int         PRIMARY KEY CHECK (shard_id BETWEEN 0 AND 5039),
    url      text        NOT NULL,
    -- False from the claim of the number until the shard's database is ready to take slots.
    active   boolean     NOT NULL DEFAULT false,
    added_at timestamptz NOT NULL DEFAULT now()
);
REVOKE ALL ON shardrive.shards FROM PUBLIC;

-- The moves that this shard takes part in, as source or as target; usually none.
CREATE TABLE shardrive.local_moves (
    move_id   bigint  PRIMARY KEY,
    -- One bit for each of the 5,040 slots.
    slots     bytea   NOT NULL CHECK (length(slots) = 630),
    -- While true, nobody may write to the slots here, although this shard still owns them; reads go on.
    held      boolean NOT NULL DEFAULT false,
    -- Where the log was when this shard took the slots: what was written before came from the other shard.
    taken_lsn pg_lsn
);

-- Keys of rows that writers changed in moving slots, to be compared once more before ownership changes.
CREATE TABLE shardrive.changed_keys (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    move_id    bigint NOT NULL,
    table_name text   NOT NULL,
    key        text[] NOT NULL
);

-- A row that travels with a move's rows, behind all that was committed before it: when it arrives, they have.
CREATE TABLE shardrive.beats (
    move_id bigint NOT NULL,
    forward boolean NOT NULL,
    beat    bigint NOT NULL,
    PRIMARY KEY (move_id, forward)
);

-- The newest coordinator's token. One that was overtaken, frozen perhaps, is refused here.
CREATE TABLE shardrive.fence (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    token     bigint  NOT NULL DEFAULT 0
);
INSERT INTO shardrive.fence DEFAULT VALUES;

-- The coordinator's own tables. Those of shard 0 are used; on the other shards they stay empty.
CREATE TABLE shardrive.coordinator (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    token     bigint  NOT NULL DEFAULT 0
);
INSERT INTO shardrive.coordinator DEFAULT VALUES;

CREATE TABLE shardrive.moves (
    id            bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Why: move, drain, rebalance.
    kind          text        NOT NULL,
    source        int         NOT NULL,
    target        int         NOT NULL,
    slots         int[]       NOT NULL CHECK (cardinality(slots) > 0),
    stage         text        NOT NULL DEFAULT 'plan' CHECK (stage IN ('plan', 'preflight', 'copy', 'catch_up', 'verify',
                                  'flip', 'watch', 'return', 'clean_up', 'done', 'cancelled', 'rolled_back', 'failed')),
    -- Where the clean-up leads, once it has begun.
    outcome       text        CHECK (outcome IN ('done', 'cancelled', 'rolled_back', 'failed')),
    -- Why it failed, or finished itself.
    reason        text,
    -- What somebody asked for and the coordinator has not done yet.
    wish          text        CHECK (wish IN ('cancel', 'rollback', 'finish')),
    skip_verify   boolean     NOT NULL DEFAULT false,
    -- How long the way back stays armed.
    keep_ms       bigint      NOT NULL CHECK (keep_ms >= 0),
    total_rows    bigint      NOT NULL DEFAULT 0,
    total_bytes   bigint      NOT NULL DEFAULT 0,
    copied_rows   bigint      NOT NULL DEFAULT 0,
    verified_rows bigint      NOT NULL DEFAULT 0,
    verified      boolean     NOT NULL DEFAULT false,
    lag_ms        bigint,
    flips_tried   int         NOT NULL DEFAULT 0,
    hold_ms       double precision,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    flipped_at    timestamptz,
    ended_at      timestamptz,
    CHECK (source <> target)
);

CREATE TABLE shardrive.move_events (
    id      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    move_id bigint      NOT NULL REFERENCES shardrive.moves (id),
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    stage   text        NOT NULL,
    what    text        NOT NULL
);
CREATE INDEX move_events_move ON shardrive.move_events (move_id, id);

-- What a move makes outside of tables, written down before it is made, so that it is found again whatever happens.
CREATE TABLE shardrive.move_objects (
    move_id bigint NOT NULL REFERENCES shardrive.moves (id),
    shard   int    NOT NULL,
    kind    text   NOT NULL CHECK (kind IN ('publication', 'slot', 'subscription')),
    name    text   NOT NULL,
    PRIMARY KEY (shard, kind, name)
);

-- Held or foreign slots are refused; true if a change of one of the slots must be noted in changed_keys.
-- Call it after enter_write(), in a statement of its own. In a clean-up it is the other way round: a DELETE may touch
-- only slots that this shard does not own, so that a clean-up that comes too late removes nothing that counts.
CREATE FUNCTION shardrive.guard_slots(written int[], deletes boolean DEFAULT false) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    refused     int[];
    first_owner int;
    first_held  boolean;
    logged      boolean;
    self        int := (SELECT shard_id FROM shardrive.identity);
    cleans      boolean := deletes AND current_setting('shardrive.clean_up', true) = 'on';
BEGIN
    SELECT array_agg(w.slot ORDER BY w.slot) FILTER (WHERE foreign_or_held),
           (array_agg(m.owner ORDER BY w.slot) FILTER (WHERE foreign_or_held))[1],
           bool_or(l.held), bool_or(l.move_id IS NOT NULL)
      INTO refused, first_owner, first_held, logged
      FROM unnest(written) AS w (slot)
      LEFT JOIN shardrive.slot_map AS m USING (slot)
      LEFT JOIN shardrive.local_moves AS l ON get_bit(l.slots, w.slot) = 1,
           LATERAL (SELECT CASE WHEN cleans THEN m.owner IS NOT DISTINCT FROM self
                                ELSE m.owner IS DISTINCT FROM self OR coalesce(l.held, false)
                           END AS foreign_or_held) AS judged;

    IF self IS NULL THEN
        RAISE EXCEPTION 'this database is not part of a cluster yet'
            USING ERRCODE = 'SD003', HINT = 'Run "shardrive migrate" with the URLs of all shards.';
    END IF;
    IF refused IS NOT NULL AND cleans THEN
        RAISE EXCEPTION 'slot % belongs to this shard and must not be cleaned up', refused[1] USING ERRCODE = 'SD004';
    END IF;
    IF refused IS NOT NULL THEN
        IF first_held AND first_owner = self THEN
            RAISE EXCEPTION 'slot % (user_id mod 5040) is about to leave this shard', refused[1]
                USING ERRCODE = 'SD001',
                      DETAIL = 'refused slots: ' || array_to_string(refused, ','),
                      HINT = 'Try again in a moment.';
        END IF;
        RAISE EXCEPTION 'slot % (user_id mod 5040) belongs to shard %, this is shard %', refused[1], first_owner, self
            USING ERRCODE = 'SD001',
                  DETAIL = 'refused slots: ' || array_to_string(refused, ','),
                  HINT = format('Write this user''s rows on shard %s.', first_owner);
    END IF;
    RETURN coalesce(logged, false) AND NOT cleans;
END
$$;

CREATE OR REPLACE FUNCTION shardrive.refuse_foreign_slots(written int[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM shardrive.guard_slots(written);
END
$$;

CREATE OR REPLACE FUNCTION shardrive.file_metadata_changed() RETURNS trigger
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    changed_slots int[];
    row_deltas    bigint[];
    byte_deltas   bigint[];
BEGIN
    PERFORM shardrive.enter_write();

    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(slot), array_agg(n), array_agg(b) INTO changed_slots, row_deltas, byte_deltas
          FROM (SELECT shardrive.slot_of(user_id) AS slot, count(*) AS n, coalesce(sum(size_bytes), 0)::bigint AS b
                  FROM new_rows GROUP BY 1) AS change;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(slot), array_agg(n), array_agg(b) INTO changed_slots, row_deltas, byte_deltas
          FROM (SELECT shardrive.slot_of(user_id) AS slot, -count(*) AS n, -coalesce(sum(size_bytes), 0)::bigint AS b
                  FROM old_rows GROUP BY 1) AS change;
    ELSE
        SELECT array_agg(slot), array_agg(n), array_agg(b) INTO changed_slots, row_deltas, byte_deltas
          FROM (SELECT slot, sum(n)::bigint AS n, coalesce(sum(b), 0)::bigint AS b
                  FROM (SELECT shardrive.slot_of(user_id) AS slot, 1 AS n, size_bytes AS b FROM new_rows
                        UNION ALL
                        SELECT shardrive.slot_of(user_id), -1, -size_bytes FROM old_rows) AS both_sides
                 GROUP BY slot) AS change;
    END IF;

    IF changed_slots IS NOT NULL THEN
        IF shardrive.guard_slots(changed_slots, TG_OP = 'DELETE') THEN
            IF TG_OP <> 'DELETE' THEN
                INSERT INTO shardrive.changed_keys (move_id, table_name, key)
                SELECT l.move_id, TG_TABLE_NAME, ARRAY[n.user_id::text, n.file_id::text]
                  FROM new_rows AS n
                  JOIN shardrive.local_moves AS l ON get_bit(l.slots, shardrive.slot_of(n.user_id)) = 1;
            END IF;
            IF TG_OP <> 'INSERT' THEN
                INSERT INTO shardrive.changed_keys (move_id, table_name, key)
                SELECT l.move_id, TG_TABLE_NAME, ARRAY[o.user_id::text, o.file_id::text]
                  FROM old_rows AS o
                  JOIN shardrive.local_moves AS l ON get_bit(l.slots, shardrive.slot_of(o.user_id)) = 1;
            END IF;
        END IF;
        INSERT INTO shardrive.slot_deltas (slots, rows, bytes) VALUES (changed_slots, row_deltas, byte_deltas);
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION shardrive.records_changed() RETURNS trigger
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    changed_slots int[];
    row_deltas    bigint[];
    byte_deltas   bigint[];
BEGIN
    PERFORM shardrive.enter_write();

    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(slot), array_agg(n), array_agg(b) INTO changed_slots, row_deltas, byte_deltas
          FROM (SELECT slot, count(*) AS n, sum(octet_length(document::text))::bigint AS b
                  FROM new_rows GROUP BY slot) AS change;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(slot), array_agg(n), array_agg(b) INTO changed_slots, row_deltas, byte_deltas
          FROM (SELECT slot, -count(*) AS n, -sum(octet_length(document::text))::bigint AS b
                  FROM old_rows GROUP BY slot) AS change;
    ELSE
        SELECT array_agg(slot), array_agg(n), array_agg(b) INTO changed_slots, row_deltas, byte_deltas
          FROM (SELECT slot, sum(n)::bigint AS n, sum(b)::bigint AS b
                  FROM (SELECT slot, 1 AS n, octet_length(document::text) AS b FROM new_rows
                        UNION ALL
                        SELECT slot, -1, -octet_length(document::text) FROM old_rows) AS both_sides
                 GROUP BY slot) AS change;
    END IF;

    IF changed_slots IS NOT NULL THEN
        IF shardrive.guard_slots(changed_slots, TG_OP = 'DELETE') THEN
            IF TG_OP <> 'DELETE' THEN
                INSERT INTO shardrive.changed_keys (move_id, table_name, key)
                SELECT l.move_id, TG_TABLE_NAME, ARRAY[n.collection, n.key, n.slot::text]
                  FROM new_rows AS n
                  JOIN shardrive.local_moves AS l ON get_bit(l.slots, n.slot) = 1;
            END IF;
            IF TG_OP <> 'INSERT' THEN
                INSERT INTO shardrive.changed_keys (move_id, table_name, key)
                SELECT l.move_id, TG_TABLE_NAME, ARRAY[o.collection, o.key, o.slot::text]
                  FROM old_rows AS o
                  JOIN shardrive.local_moves AS l ON get_bit(l.slots, o.slot) = 1;
            END IF;
        END IF;
        INSERT INTO shardrive.record_deltas (slots, rows, bytes) VALUES (changed_slots, row_deltas, byte_deltas);
    END IF;
    RETURN NULL;
END
$$;

-- A TRUNCATE would also empty rows that are on their way to or from another shard.
CREATE OR REPLACE FUNCTION shardrive.file_metadata_truncated() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM shardrive.enter_write();
    IF EXISTS (SELECT FROM shardrive.local_moves) THEN
        RAISE EXCEPTION 'slots of this shard are on the move; TRUNCATE would empty more than it owns'
            USING ERRCODE = 'SD001', HINT = 'Try again when the move has ended.';
    END IF;
    INSERT INTO shardrive.slot_deltas (slots, rows, bytes)
    SELECT array_agg(slot), array_agg(-rows), array_agg(-bytes)
      FROM shardrive.slot_totals
     WHERE rows <> 0 OR bytes <> 0
    HAVING count(*) > 0;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION shardrive.records_truncated() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM shardrive.enter_write();
    IF EXISTS (SELECT FROM shardrive.local_moves) THEN
        RAISE EXCEPTION 'slots of this shard are on the move; TRUNCATE would empty more than it owns'
            USING ERRCODE = 'SD001', HINT = 'Try again when the move has ended.';
    END IF;
    INSERT INTO shardrive.record_deltas (slots, rows, bytes)
    SELECT array_agg(slot), array_agg(-rows), array_agg(-bytes)
      FROM shardrive.record_totals
     WHERE rows <> 0 OR bytes <> 0
    HAVING count(*) > 0;
    RETURN NULL;
END
$$;

-- Changes of the map wait for one another: each counts what this shard owns after the one before it.
CREATE OR REPLACE FUNCTION shardrive.assign_slots(moved int[], new_owner int, new_epoch bigint) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    changed int;
BEGIN
    PERFORM pg_advisory_xact_lock(5040, 4);
    PERFORM pg_advisory_xact_lock(5040, 1);
    UPDATE shardrive.slot_map
       SET owner = new_owner, epoch = new_epoch
     WHERE slot = ANY (moved) AND epoch < new_epoch;
    GET DIAGNOSTICS changed = ROW_COUNT;
    RETURN changed;
END
$$;

-- A coordinator comes: those before it are refused from here on. An older one is refused itself.
CREATE FUNCTION shardrive.raise_fence(new_token bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE shardrive.fence SET token = new_token WHERE token < new_token;
    IF NOT EXISTS (SELECT FROM shardrive.fence WHERE token = new_token) THEN
        RAISE EXCEPTION 'another coordinator has taken over' USING ERRCODE = 'SD005';
    END IF;
END
$$;

-- Refuses a coordinator that was overtaken; until the end of the transaction none can overtake it.
CREATE FUNCTION shardrive.check_fence(own_token bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM shardrive.fence WHERE token = own_token FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'another coordinator has taken over' USING ERRCODE = 'SD005';
    END IF;
END
$$;

-- The owner gives slots to another shard. Unlike assign_slots it makes nobody wait: the caller has held the slots, and
-- the writers of before have ended.
CREATE FUNCTION shardrive.leave_slots(
    move bigint, moved int[], new_owner int, new_epoch bigint, own_token bigint
) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    changed int;
BEGIN
    PERFORM shardrive.check_fence(own_token);
    IF NOT EXISTS (SELECT FROM shardrive.local_moves WHERE move_id = move AND held) THEN
        RAISE EXCEPTION 'the slots of move % are not held', move USING ERRCODE = 'SD006';
    END IF;
    PERFORM pg_advisory_xact_lock(5040, 4);
    UPDATE shardrive.slot_map SET owner = new_owner, epoch = new_epoch WHERE slot = ANY (moved) AND epoch < new_epoch;
    GET DIAGNOSTICS changed = ROW_COUNT;
    UPDATE shardrive.local_moves SET held = false WHERE move_id = move;
    RETURN changed;
END
$$;

-- The new owner takes them. A second call changes nothing.
CREATE FUNCTION shardrive.take_slots(
    move bigint, moved int[], new_owner int, new_epoch bigint, own_token bigint
) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    changed int;
BEGIN
    PERFORM shardrive.check_fence(own_token);
    PERFORM pg_advisory_xact_lock(5040, 4);
    UPDATE shardrive.slot_map SET owner = new_owner, epoch = new_epoch WHERE slot = ANY (moved) AND epoch < new_epoch;
    GET DIAGNOSTICS changed = ROW_COUNT;
    IF changed > 0 THEN
        UPDATE shardrive.local_moves SET taken_lsn = pg_current_wal_insert_lsn() WHERE move_id = move;
    END IF;
    RETURN changed;
END
$$;

-- Sets what the counts of one table say of slots that nobody can write to at the moment: rows that replication brought,
-- or that were removed, were not counted. The folding of deltas waits meanwhile, as it moves numbers between the two.
CREATE FUNCTION shardrive.set_counts(counts regclass, deltas regclass, given int[], new_rows bigint[], new_bytes bigint[])
RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(5040, 3);
    EXECUTE format(
        'WITH pending AS (
             SELECT delta.slot, sum(delta.rows)::bigint AS rows, sum(delta.bytes)::bigint AS bytes
               FROM %2$s AS d, unnest(d.slots, d.rows, d.bytes) AS delta (slot, rows, bytes)
              WHERE delta.slot = ANY ($1)
              GROUP BY delta.slot
         )
         UPDATE %1$s AS c
            SET rows = w.rows - coalesce(p.rows, 0), bytes = w.bytes - coalesce(p.bytes, 0)
           FROM unnest($1, $2, $3) AS w (slot, rows, bytes)
           LEFT JOIN pending AS p USING (slot)
          WHERE c.slot = w.slot', counts, deltas)
    USING given, new_rows, new_bytes;
END
$$;

-- Only a change of owners changes what this shard owns.
DROP TRIGGER slot_map_changed ON shardrive.slot_map;
CREATE TRIGGER slot_map_changed AFTER INSERT OR DELETE OR UPDATE OF owner ON shardrive.slot_map
    FOR EACH STATEMENT EXECUTE FUNCTION shardrive.slot_map_changed();
