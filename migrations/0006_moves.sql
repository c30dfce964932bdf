-- Moves: what the coordinator keeps, and how slots change hands (docs/resharding.md). What a shard keeps of its own
-- moves, and what its guard makes of them, stands in 0002_ownership.sql.

-- The coordinator's own tables. Shard 0 uses them; on the other shards they stay empty.
CREATE TABLE shardrive.coordinator (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    token     bigint  NOT NULL DEFAULT 0
);
INSERT INTO shardrive.coordinator DEFAULT VALUES;

CREATE TABLE shardrive.moves (
    id                 bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Which operation asked for it: move, drain, rebalance.
    kind               text        NOT NULL,
    source             int         NOT NULL,
    target             int         NOT NULL,
    slots              int[]       NOT NULL CHECK (cardinality(slots) > 0),
    stage              text        NOT NULL DEFAULT 'plan' CHECK (stage IN ('plan', 'preflight', 'copy', 'catch_up', 'verify',
                                       'cutover', 'rollback_window', 'rollback', 'clean_up', 'done', 'cancelled', 'rolled_back',
                                       'failed')),
    -- Where the clean-up leads, once it has begun.
    outcome            text        CHECK (outcome IN ('done', 'cancelled', 'rolled_back', 'failed')),
    -- Why the move failed, or finished itself.
    reason             text,
    -- What an operator requested and the coordinator has not done yet.
    request            text        CHECK (request IN ('cancel', 'rollback', 'finish')),
    skip_verify        boolean     NOT NULL DEFAULT false,
    copy_rate          int         CHECK (copy_rate > 0),
    -- The length of the rollback window.
    rollback_window_ms bigint      NOT NULL CHECK (rollback_window_ms >= 0),
    total_rows         bigint      NOT NULL DEFAULT 0,
    total_bytes        bigint      NOT NULL DEFAULT 0,
    copied_rows        bigint      NOT NULL DEFAULT 0,
    verified_rows      bigint      NOT NULL DEFAULT 0,
    verified           boolean     NOT NULL DEFAULT false,
    lag_ms             bigint,
    cutover_attempts   int         NOT NULL DEFAULT 0,
    freeze_ms          double precision,
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now(),
    cutover_at         timestamptz,
    ended_at           timestamptz,
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

-- What a move makes outside of tables. The coordinator writes it down before it makes it, and so always finds it again.
CREATE TABLE shardrive.move_objects (
    move_id bigint NOT NULL REFERENCES shardrive.moves (id),
    shard   int    NOT NULL,
    kind    text   NOT NULL CHECK (kind IN ('publication', 'slot', 'subscription')),
    name    text   NOT NULL,
    PRIMARY KEY (shard, kind, name)
);

-- A row that travels behind all rows of a move that were committed before it: when it arrives, they have arrived.
CREATE TABLE shardrive.heartbeats (
    move_id   bigint NOT NULL,
    direction text   NOT NULL CHECK (direction IN ('forward', 'reverse')),
    number    bigint NOT NULL,
    PRIMARY KEY (move_id, direction)
);

-- The newest coordinator's token. This shard refuses a coordinator that was overtaken, perhaps while it was frozen.
CREATE TABLE shardrive.coordinator_fence (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    token     bigint  NOT NULL DEFAULT 0
);
INSERT INTO shardrive.coordinator_fence DEFAULT VALUES;

-- A new coordinator raises the fence: the shard refuses the earlier ones from here on. An older one is refused itself.
CREATE FUNCTION shardrive.raise_coordinator_fence(new_token bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE shardrive.coordinator_fence SET token = new_token WHERE token < new_token;
    IF NOT EXISTS (SELECT FROM shardrive.coordinator_fence WHERE token = new_token) THEN
        RAISE EXCEPTION 'another coordinator has taken over' USING ERRCODE = 'SD005';
    END IF;
END
$$;

-- Refuses a coordinator that was overtaken. Until the transaction ends, nobody can overtake this one.
CREATE FUNCTION shardrive.check_coordinator_fence(own_token bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM shardrive.coordinator_fence WHERE token = own_token FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'another coordinator has taken over' USING ERRCODE = 'SD005';
    END IF;
END
$$;

-- First step of a cutover, on the new owner. It takes slots that are frozen on the old owner, with their counts, and
-- freezes them here as well. Reads go on, because at each moment one of the two owns the slots; nobody may write until
-- the old owner has given them up. A second call changes nothing.
-- `previous` has the old owner's epochs in the order of `moved`; NULL if they are not known. `counts` has an entry for
-- each table: {"counts", "deltas", "slots", "rows", "bytes"}. `newest_version` is the old owner's number of the newest
-- change: changes of the slots get larger numbers here. If a lock is not free within `lock_ms`, the call fails.
CREATE FUNCTION shardrive.take_slots(
    move bigint, moved int[], previous bigint[], new_owner int, new_epoch bigint, own_token bigint, counts jsonb,
    newest_version bigint, lock_ms int
) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    given   record;
    changed int;
BEGIN
    PERFORM set_config('lock_timeout', lock_ms::text, true);
    FOR given IN
        SELECT * FROM jsonb_to_recordset(counts) AS t (counts text, deltas text, slots int[], rows bigint[], bytes numeric[])
    LOOP
        PERFORM shardrive.set_counts(given.counts, given.deltas, given.slots, given.rows, given.bytes);
    END LOOP;
    PERFORM shardrive.raise_version(newest_version);
    PERFORM shardrive.check_coordinator_fence(own_token);
    PERFORM pg_advisory_xact_lock(5040, 4);
    UPDATE shardrive.slot_map AS m
       SET owner = new_owner, epoch = new_epoch, previous_epoch = t.previous
      FROM unnest(moved, previous) AS t (slot, previous)
     WHERE m.slot = t.slot AND m.epoch < new_epoch;
    GET DIAGNOSTICS changed = ROW_COUNT;
    IF changed > 0 THEN
        UPDATE shardrive.local_moves SET frozen = true, taken_lsn = pg_current_wal_insert_lsn() WHERE move_id = move;
    END IF;
    RETURN changed;
END
$$;

-- Second step of a cutover, on the old owner. Unlike assign_slots it makes nobody wait: the coordinator has frozen
-- the slots, and the earlier writers have ended.
CREATE FUNCTION shardrive.give_up_slots(
    move bigint, moved int[], new_owner int, new_epoch bigint, own_token bigint
) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    changed int;
BEGIN
    PERFORM shardrive.check_coordinator_fence(own_token);
    IF NOT EXISTS (SELECT FROM shardrive.local_moves WHERE move_id = move AND frozen) THEN
        RAISE EXCEPTION 'the slots of move % are not frozen', move USING ERRCODE = 'SD006';
    END IF;
    -- In the order of assign_slots.
    PERFORM pg_advisory_xact_lock(5040, 3);
    PERFORM pg_advisory_xact_lock(5040, 4);
    UPDATE shardrive.slot_map
       SET owner = new_owner, epoch = new_epoch, previous_epoch = epoch
     WHERE slot = ANY (moved) AND epoch < new_epoch;
    GET DIAGNOSTICS changed = ROW_COUNT;
    UPDATE shardrive.local_moves SET frozen = false WHERE move_id = move;
    RETURN changed;
END
$$;
