-- The brake on the copy of a move. The copying itself is done by PostgreSQL, which has no limit for it; a constraint is the
-- one place that it passes for each row and that costs next to nothing where nobody copies: one row of many asks the brake,
-- and only a replication worker waits there.

ALTER TABLE shardrive.local_moves
    -- Rows that the copy may bring here in a second; none: as many as it can.
    ADD COLUMN copy_rate         int CHECK (copy_rate > 0),
    -- Until then it brings none. It goes on by itself when nobody prolongs this.
    ADD COLUMN copy_paused_until timestamptz;

ALTER TABLE shardrive.moves
    ADD COLUMN copy_rate int CHECK (copy_rate > 0);

-- Waits for as long as the move of this slot says; always true. Called for one row of `step`.
CREATE FUNCTION shardrive.brake_copy(slot int, step int) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    rate         int;
    paused_until timestamptz;
    last         timestamptz;
BEGIN
    IF current_setting('session_replication_role') <> 'replica' THEN
        RETURN true;
    END IF;
    LOOP
        SELECT l.copy_rate, l.copy_paused_until INTO rate, paused_until
          FROM shardrive.local_moves AS l
         WHERE get_bit(l.slots, slot) = 1;
        EXIT WHEN paused_until IS NULL OR paused_until <= clock_timestamp();
        PERFORM pg_sleep(0.05);
    END LOOP;
    IF rate IS NOT NULL THEN
        last := nullif(current_setting('shardrive.braked_at', true), '')::timestamptz;
        -- No wait for the first, and none if the rows between took their time anyway.
        PERFORM pg_sleep(extract(epoch FROM last + interval '1 s' * step / rate - clock_timestamp()));
        PERFORM set_config('shardrive.braked_at', clock_timestamp()::text, false);
    END IF;
    RETURN true;
END
$$;

-- NOT VALID: there is nothing to check in the rows that are there.
ALTER TABLE public.file_metadata ADD CONSTRAINT file_metadata_copy_brake
    CHECK (uuid_hash(file_id) & 255 <> 0 OR shardrive.brake_copy((user_id % 5040)::int, 256)) NOT VALID;
ALTER TABLE public.records ADD CONSTRAINT records_copy_brake
    CHECK (hashtext(key) & 15 <> 0 OR shardrive.brake_copy(slot, 16)) NOT VALID;
