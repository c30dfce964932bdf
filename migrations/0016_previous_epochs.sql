-- A change of hands tells which epoch came before: then a writer knows every epoch under which somebody may still read from the
-- cache, removes its values under both, and need not wait until the change has settled (docs/decisions/0011-cache.md).

-- The epoch that this one followed, if it is known that there was none between them.
ALTER TABLE shardrive.slot_map ADD COLUMN previous_epoch bigint;

-- Whoever changes the epoch and says nothing of the one before, such as a program of the release before, does not know it.
CREATE FUNCTION shardrive.forget_previous_epoch() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.previous_epoch := NULL;
    RETURN NEW;
END
$$;
CREATE TRIGGER slot_previous_epoch BEFORE UPDATE ON shardrive.slot_map FOR EACH ROW
    WHEN (NEW.epoch <> OLD.epoch AND NEW.previous_epoch IS NOT DISTINCT FROM OLD.previous_epoch)
    EXECUTE FUNCTION shardrive.forget_previous_epoch();

-- As before; the owner knows its own epoch.
CREATE OR REPLACE FUNCTION shardrive.leave_slots(
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
    UPDATE shardrive.slot_map
       SET owner = new_owner, epoch = new_epoch, previous_epoch = epoch
     WHERE slot = ANY (moved) AND epoch < new_epoch;
    GET DIAGNOSTICS changed = ROW_COUNT;
    UPDATE shardrive.local_moves SET held = false WHERE move_id = move;
    RETURN changed;
END
$$;

-- As before, but told the epochs of the owner before, in the order of `moved`; null if they are not known.
CREATE FUNCTION shardrive.take_held_slots(
    move bigint, moved int[], previous bigint[], new_owner int, new_epoch bigint, own_token bigint, counts jsonb, lock_ms int
) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    given   record;
    changed int;
BEGIN
    PERFORM set_config('lock_timeout', lock_ms::text, true);
    FOR given IN
        SELECT * FROM jsonb_to_recordset(counts) AS t (counts text, deltas text, slots int[], rows bigint[], bytes bigint[])
    LOOP
        PERFORM shardrive.set_counts(given.counts, given.deltas, given.slots, given.rows, given.bytes);
    END LOOP;
    PERFORM shardrive.check_fence(own_token);
    PERFORM pg_advisory_xact_lock(5040, 4);
    UPDATE shardrive.slot_map AS m
       SET owner = new_owner, epoch = new_epoch, previous_epoch = t.previous
      FROM unnest(moved, previous) AS t (slot, previous)
     WHERE m.slot = t.slot AND m.epoch < new_epoch;
    GET DIAGNOSTICS changed = ROW_COUNT;
    IF changed > 0 THEN
        UPDATE shardrive.local_moves SET held = true, taken_lsn = pg_current_wal_insert_lsn() WHERE move_id = move;
    END IF;
    RETURN changed;
END
$$;

-- For programs of the release before.
CREATE OR REPLACE FUNCTION shardrive.take_held_slots(
    move bigint, moved int[], new_owner int, new_epoch bigint, own_token bigint, counts jsonb, lock_ms int
) RETURNS int
LANGUAGE sql
RETURN shardrive.take_held_slots(move, moved, NULL::bigint[], new_owner, new_epoch, own_token, counts, lock_ms);
