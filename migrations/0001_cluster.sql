-- Who this database is, and which slots it owns.
--
-- Everything the service itself needs stands in the schema `shardrive`, so that `public` shows people only their data.

CREATE SCHEMA IF NOT EXISTS shardrive;

CREATE TABLE shardrive.identity (
    singleton      boolean     PRIMARY KEY DEFAULT true CHECK (singleton),
    cluster_id     uuid        NOT NULL,
    shard_id       int         NOT NULL CHECK (shard_id >= 0),
    shard_count    int         NOT NULL CHECK (shard_count > shard_id AND shard_count <= 5040),
    -- False until every shard of a new cluster has its identity: a set-up that was cut off can be completed,
    -- but an empty database can never take the place of one that has held data.
    ready          boolean     NOT NULL DEFAULT false,
    initialised_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE shardrive.identity IS 'One row: which shard of which cluster this database is.';

-- Every shard keeps the whole map, so that no single database is needed to find the owner of a slot.
-- Two copies may differ while a slot changes hands: the row with the higher epoch is the newer.
CREATE TABLE shardrive.slot_map (
    slot  int    PRIMARY KEY CHECK (slot BETWEEN 0 AND 5039),
    owner int    NOT NULL CHECK (owner >= 0),
    epoch bigint NOT NULL CHECK (epoch > 0)
);
COMMENT ON TABLE shardrive.slot_map IS 'Slot (user_id mod 5040) to shard. This shard owns the slots whose owner is its own shard_id.';

-- Euclidean, so that a negative number would still have a slot.
CREATE FUNCTION shardrive.slot_of(user_id bigint) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (((user_id % 5040) + 5040) % 5040)::int;

-- The lock that every writing transaction takes as shared, from its first write to its end. Whoever changes
-- ownership takes it as exclusive, and so waits for the writers that looked at the map before the change.
CREATE FUNCTION shardrive.enter_write() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    -- A snapshot older than the lock could show an ownership that has ended.
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        RAISE EXCEPTION 'writes to this shard need the isolation level READ COMMITTED'
            USING ERRCODE = 'SD002',
                  HINT = 'Start the transaction without REPEATABLE READ or SERIALIZABLE.';
    END IF;
    PERFORM pg_advisory_xact_lock_shared(5040, 1);
END
$$;

-- Refuses the transaction if this shard does not own one of the slots. Call it after enter_write(), in a
-- statement of its own: READ COMMITTED gives that statement a snapshot taken after the lock.
CREATE FUNCTION shardrive.refuse_foreign_slots(written int[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    refused     int[];
    first_owner int;
    self        int := (SELECT shard_id FROM shardrive.identity);
BEGIN
    SELECT array_agg(w.slot ORDER BY w.slot), (array_agg(m.owner ORDER BY w.slot))[1]
      INTO refused, first_owner
      FROM unnest(written) AS w (slot)
      LEFT JOIN shardrive.slot_map AS m USING (slot)
     WHERE m.owner IS DISTINCT FROM self;

    IF self IS NULL THEN
        RAISE EXCEPTION 'this database is not part of a cluster yet'
            USING ERRCODE = 'SD003', HINT = 'Run "shardrive migrate" with the URLs of all shards.';
    END IF;
    IF refused IS NOT NULL THEN
        RAISE EXCEPTION 'slot % (user_id mod 5040) belongs to shard %, this is shard %', refused[1], first_owner, self
            USING ERRCODE = 'SD001',
                  DETAIL = 'refused slots: ' || array_to_string(refused, ','),
                  HINT = format('Write this user''s rows on shard %s.', first_owner);
    END IF;
END
$$;

-- Changes the owner of slots in this database's copy of the map, after the writers in progress have ended.
-- Rows that already carry the new epoch, or a later one, stay as they are; the answer is how many changed.
CREATE FUNCTION shardrive.assign_slots(moved int[], new_owner int, new_epoch bigint) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    changed int;
BEGIN
    PERFORM pg_advisory_xact_lock(5040, 1);
    UPDATE shardrive.slot_map
       SET owner = new_owner, epoch = new_epoch
     WHERE slot = ANY (moved) AND epoch < new_epoch;
    GET DIAGNOSTICS changed = ROW_COUNT;
    RETURN changed;
END
$$;
