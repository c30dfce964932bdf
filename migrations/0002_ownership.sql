-- Which slots this shard owns, which slots are on the move here, and the guard that refuses writes to all others.

-- The slot of a number. Euclidean: a negative number has a slot as well.
CREATE FUNCTION shardrive.slot_of(user_id bigint) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (((user_id % 5040) + 5040) % 5040)::int;

-- The slot of a string: its MD5, read as a 128-bit big-endian number, mod 5040. The function takes 32 bits at a time,
-- because the remainder so far and the next 32 bits still fit a bigint.
CREATE FUNCTION shardrive.slot_of(key text) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ((((
        ('x' || substr(md5(key),  1, 8))::bit(32)::bigint % 5040 * 4294967296
      + ('x' || substr(md5(key),  9, 8))::bit(32)::bigint) % 5040 * 4294967296
      + ('x' || substr(md5(key), 17, 8))::bit(32)::bigint) % 5040 * 4294967296
      + ('x' || substr(md5(key), 25, 8))::bit(32)::bigint) % 5040)::int;

-- Every shard keeps the whole map: no single database is needed to find the owner of a slot.
-- Two copies may differ while a slot changes hands. For each slot the row with the higher epoch is right.
CREATE TABLE shardrive.slot_map (
    slot           int    PRIMARY KEY CHECK (slot BETWEEN 0 AND 5039),
    owner          int    NOT NULL CHECK (owner >= 0),
    epoch          bigint NOT NULL CHECK (epoch > 0),
    -- The epoch that `epoch` followed; NULL: not known. A writer removes cached values under both epochs
    -- (docs/decisions/0011-cache.md).
    previous_epoch bigint
);
COMMENT ON TABLE shardrive.slot_map IS 'Slot (user_id mod 5040) to shard. This shard owns the slots whose owner is its own shard_id.';

-- Which slots this shard owns, in short. Writes and batches of reads look at `owned` in place of a row of the map for
-- each slot. A fan-out tells from the three numbers whether every slot is in the answers exactly once. The triggers of
-- the map keep this row (0005_counts.sql).
CREATE TABLE shardrive.coverage (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    -- One bit for each of the 5,040 slots: 1 for a slot of this shard.
    owned     bytea   NOT NULL DEFAULT decode(repeat('00', 630), 'hex') CHECK (length(owned) = 630),
    -- How many slots this shard owns, the exclusive-or of their hashes, and the exclusive-or of the other slots' hashes.
    slots     bigint  NOT NULL DEFAULT 0,
    digest    bigint  NOT NULL DEFAULT 0,
    others    bigint  NOT NULL DEFAULT 0
);
INSERT INTO shardrive.coverage DEFAULT VALUES;

-- Sets the bits of some slots.
CREATE FUNCTION shardrive.set_slot_bits(bits bytea, changed int[], new_bit int) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    slot int;
BEGIN
    FOREACH slot IN ARRAY changed LOOP
        bits := set_bit(bits, slot, new_bit);
    END LOOP;
    RETURN bits;
END
$$;

-- An update that gives a new epoch without the previous one makes the previous one unknown.
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

-- The moves that this shard takes part in, as source or as target; usually none.
CREATE TABLE shardrive.local_moves (
    move_id           bigint  PRIMARY KEY,
    -- One bit for each of the 5,040 slots.
    slots             bytea   NOT NULL CHECK (length(slots) = 630),
    -- True: the shard refuses writes to these slots, although it still owns them. Reads go on.
    frozen            boolean NOT NULL DEFAULT false,
    -- Where the log was when this shard took the slots: rows written before came from the other shard.
    taken_lsn         pg_lsn,
    -- How many rows the copy may bring here in a second; NULL: no limit.
    copy_rate         int     CHECK (copy_rate > 0),
    -- The copy brings no row until this time. It goes on by itself when nobody prolongs the pause.
    copy_paused_until timestamptz
);

-- Keys of rows that writers changed in moving slots. The move compares these rows once more before the cutover.
CREATE TABLE shardrive.changed_keys (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    move_id    bigint NOT NULL,
    table_name text   NOT NULL,
    key        text[] NOT NULL
);

-- Takes the lock that every writing transaction holds as shared, from its first write to its end. A change of ownership
-- takes the lock as exclusive, and so waits for the writers that looked at the map before the change. Returns true, for
-- an assignment: PL/pgSQL runs a PERFORM as a statement, which takes longer than the lock itself.
CREATE FUNCTION shardrive.enter_write() RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    -- A snapshot older than the lock could show an ownership that has ended.
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        RAISE EXCEPTION 'writes to this shard need the isolation level READ COMMITTED'
            USING ERRCODE = 'SD002',
                  HINT = 'Start the transaction without REPEATABLE READ or SERIALIZABLE.';
    END IF;
    RETURN pg_advisory_xact_lock_shared(5040, 1) IS NOT NULL;
END
$$;

-- Refuses writes to frozen slots and to slots of other shards. Returns true if the caller must note its changes in
-- changed_keys. Call it after enter_write(), in a statement of its own: READ COMMITTED gives that statement a snapshot
-- taken after the lock. Triggers look for the usual case in the statement that gathers the slots, after enter_write() as
-- well, and call this function in the other cases.
--
-- In a clean-up the rule is reversed. A DELETE may then touch only slots that this shard does not own, so that a
-- clean-up that comes too late removes no row that counts.
CREATE FUNCTION shardrive.guard_slots(written int[], deletes boolean DEFAULT false) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    is_free boolean;
    -- NULL in a session that has never named the setting.
    cleans  boolean := deletes AND coalesce(current_setting('shardrive.clean_up', true), '') = 'on';
BEGIN
    -- Mostly this shard owns all of the slots, and none of its slots is on the move.
    SELECT bool_and(get_bit((SELECT owned FROM shardrive.coverage), w.slot) = 1
                    AND NOT EXISTS (SELECT FROM shardrive.local_moves AS l WHERE get_bit(l.slots, w.slot) = 1))
      INTO is_free
      FROM unnest(written) AS w (slot);
    RETURN CASE WHEN is_free AND NOT cleans THEN false ELSE shardrive.judge_slots(written, cleans) END;
END
$$;

-- The same, by the map and the moves.
-- The generic plan: for an array of slots the planner would plan anew at each call, at the cost of several calls.
CREATE FUNCTION shardrive.judge_slots(written int[], cleans boolean) RETURNS boolean
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    refused      int[];
    first_owner  int;
    first_frozen boolean;
    logged       boolean;
    self         int := (SELECT shard_id FROM shardrive.identity);
BEGIN
    SELECT array_agg(w.slot ORDER BY w.slot) FILTER (WHERE foreign_or_frozen),
           (array_agg(m.owner ORDER BY w.slot) FILTER (WHERE foreign_or_frozen))[1],
           bool_or(l.frozen), bool_or(l.move_id IS NOT NULL)
      INTO refused, first_owner, first_frozen, logged
      FROM unnest(written) AS w (slot)
      LEFT JOIN shardrive.slot_map AS m USING (slot)
      LEFT JOIN shardrive.local_moves AS l ON get_bit(l.slots, w.slot) = 1,
           LATERAL (SELECT CASE WHEN cleans THEN m.owner IS NOT DISTINCT FROM self
                                ELSE m.owner IS DISTINCT FROM self OR coalesce(l.frozen, false)
                           END AS foreign_or_frozen) AS judged;

    IF self IS NULL THEN
        RAISE EXCEPTION 'this database is not part of a cluster yet'
            USING ERRCODE = 'SD003', HINT = 'Run "shardrive migrate" with the URLs of all shards.';
    END IF;
    IF refused IS NOT NULL AND cleans THEN
        RAISE EXCEPTION 'slot % belongs to this shard and must not be cleaned up', refused[1] USING ERRCODE = 'SD004';
    END IF;
    IF refused IS NOT NULL THEN
        IF first_frozen AND first_owner = self THEN
            RAISE EXCEPTION 'slot % is about to leave this shard', refused[1]
                USING ERRCODE = 'SD001',
                      DETAIL = 'refused slots: ' || array_to_string(refused, ','),
                      HINT = 'Try again in a moment.';
        END IF;
        RAISE EXCEPTION 'slot % belongs to shard %, this is shard %', refused[1], first_owner, self
            USING ERRCODE = 'SD001',
                  DETAIL = 'refused slots: ' || array_to_string(refused, ','),
                  HINT = format('Write these rows on shard %s. The slot of a user is user_id mod 5040.', first_owner);
    END IF;
    RETURN coalesce(logged, false) AND NOT cleans;
END
$$;

-- Begins a TRUNCATE of a table that moves. During a move it is refused, because it would also empty rows that are on
-- their way to or from another shard.
CREATE FUNCTION shardrive.enter_truncate() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM shardrive.enter_write();
    IF EXISTS (SELECT FROM shardrive.local_moves) THEN
        RAISE EXCEPTION 'slots of this shard are on the move; TRUNCATE would empty more than it owns'
            USING ERRCODE = 'SD001', HINT = 'Try again when the move has ended.';
    END IF;
END
$$;

-- Changes the owner of slots in this database's copy of the map, after the writers in progress have ended.
-- Rows that already carry the new epoch, or a later one, stay as they are. Returns how many rows changed.
CREATE FUNCTION shardrive.assign_slots(moved int[], new_owner int, new_epoch bigint) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    changed int;
BEGIN
    -- Folding waits meanwhile: it writes to the same counts in an order of its own. take_slots has this lock first, too.
    PERFORM pg_advisory_xact_lock(5040, 3);
    -- Changes of the map wait for one another: each counts what this shard owns after the change before it.
    PERFORM pg_advisory_xact_lock(5040, 4);
    PERFORM pg_advisory_xact_lock(5040, 1);
    UPDATE shardrive.slot_map
       SET owner = new_owner, epoch = new_epoch
     WHERE slot = ANY (moved) AND epoch < new_epoch;
    GET DIAGNOSTICS changed = ROW_COUNT;
    RETURN changed;
END
$$;

-- Throttles the copy of a move: waits as long as the worker's move says, and returns true. Without a rate, and while
-- others write on this server, the copy rests for twice as long as a step took. The type of a key of each table that moves
-- calls this function for one row of `step`. PostgreSQL makes the copy and has no limit for it; a type is the one place
-- that each copied row passes and that costs next to nothing elsewhere.
CREATE FUNCTION shardrive.throttle_copy(step int) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    rate         int;
    paused_until timestamptz;
    -- False in the worker that applies the changes of clients.
    copies       boolean;
    -- When the last step ended, and the number of the server's next transaction that writes, then and now.
    last         timestamptz;
    seen         bigint;
    next         bigint;
BEGIN
    -- Only a replication worker waits.
    IF current_setting('session_replication_role') <> 'replica' THEN
        RETURN true;
    END IF;
    LOOP
        -- A stream's name ends in the number of its move and a letter for the direction.
        SELECT l.copy_rate, l.copy_paused_until, s.relid IS NOT NULL INTO rate, paused_until, copies
          FROM pg_stat_subscription AS s
          JOIN shardrive.local_moves AS l ON l.move_id = substring(s.subname FROM '_(\d+)_[fr]$')::bigint
         WHERE s.pid = pg_backend_pid();
        EXIT WHEN paused_until IS NULL OR paused_until <= clock_timestamp();
        PERFORM pg_sleep(0.05);
    END LOOP;
    last := nullif(current_setting('shardrive.throttled_at', true), '')::timestamptz;
    seen := nullif(current_setting('shardrive.throttled_before', true), '')::bigint;
    next := pg_snapshot_xmax(pg_current_snapshot())::text::bigint;
    -- The first row does not wait, nor does a row whose step has taken its time anyway.
    IF rate IS NOT NULL THEN
        PERFORM pg_sleep(extract(epoch FROM last + interval '1 s' * step / rate - clock_timestamp()));
    ELSIF copies AND next > seen THEN
        PERFORM pg_sleep(least(2 * extract(epoch FROM clock_timestamp() - last), 0.1));
    END IF;
    PERFORM set_config('shardrive.throttled_at', clock_timestamp()::text, false),
            set_config('shardrive.throttled_before', next::text, false);
    RETURN true;
END
$$;

-- The id of a row that moves. Its check throttles the copy of the row, and is no constraint of a table: a statement reads
-- each CHECK of its table anew, and a session knows the checks of types (docs/decisions/0009-where-the-time-goes.md).
CREATE DOMAIN shardrive.row_id AS uuid CONSTRAINT row_id_copy_throttle CHECK (
    uuid_hash(VALUE) & 255 <> 0 OR shardrive.throttle_copy(256)
);
