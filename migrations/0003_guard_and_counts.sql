-- The guard and the counts: what every transaction that changes file_metadata does besides, whoever sends it.
--
-- Triggers on statements, not rows: their cost is paid once for a batch. They do not fire for rows that logical
-- replication applies (session_replication_role = replica), so rows may arrive before their slot's ownership does.

-- Rows and bytes for each slot: the sum of slot_counts and slot_deltas. A transaction appends its change to
-- slot_deltas, so that writers never wait for one another; a background task folds the deltas into slot_counts.
CREATE TABLE shardrive.slot_counts (
    slot  int     PRIMARY KEY CHECK (slot BETWEEN 0 AND 5039),
    -- As slot_map says; kept here by its trigger, so that the rows that count are summed without a join.
    owned boolean NOT NULL DEFAULT false,
    rows  bigint  NOT NULL DEFAULT 0,
    bytes bigint  NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

INSERT INTO shardrive.slot_counts (slot)
SELECT generate_series(0, 5039);

-- Which slots this shard owns, in three numbers: how many, the exclusive-or of their hashes, and that of the others'.
-- Whoever asks all shards can tell from these whether every slot is in the answers exactly once.
CREATE TABLE shardrive.coverage (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    slots     bigint  NOT NULL DEFAULT 0,
    digest    bigint  NOT NULL DEFAULT 0,
    others    bigint  NOT NULL DEFAULT 0
);

INSERT INTO shardrive.coverage DEFAULT VALUES;

-- What follows from the map changes in the transaction that changes the map.
CREATE FUNCTION shardrive.slot_map_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    self int := (SELECT shard_id FROM shardrive.identity);
BEGIN
    UPDATE shardrive.slot_counts AS c
       SET owned = m.owner IS NOT DISTINCT FROM self
      FROM shardrive.slot_map AS m
     WHERE m.slot = c.slot AND c.owned <> (m.owner IS NOT DISTINCT FROM self);
    UPDATE shardrive.coverage
       SET slots = map.slots, digest = map.digest, others = map.others
      FROM (
            SELECT count(*) FILTER (WHERE owner = self)                                          AS slots,
                   coalesce(bit_xor(hashint4extended(slot, 0)) FILTER (WHERE owner = self), 0)   AS digest,
                   coalesce(bit_xor(hashint4extended(slot, 0)) FILTER (WHERE owner <> self), 0)  AS others
              FROM shardrive.slot_map
           ) AS map;
    RETURN NULL;
END
$$;

CREATE TRIGGER slot_map_changed AFTER INSERT OR UPDATE OR DELETE ON shardrive.slot_map
    FOR EACH STATEMENT EXECUTE FUNCTION shardrive.slot_map_changed();

-- One row for each statement, its slots in arrays: a bulk load touches thousands of slots at once.
CREATE TABLE shardrive.slot_deltas (
    slots int[]    NOT NULL,
    rows  bigint[] NOT NULL,
    bytes bigint[] NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

-- What is true now, with the deltas that are not folded yet.
CREATE VIEW shardrive.slot_totals AS
SELECT slot, sum(rows)::bigint AS rows, sum(bytes)::bigint AS bytes
  FROM (
        SELECT slot, rows, bytes FROM shardrive.slot_counts
        UNION ALL
        SELECT delta.* FROM shardrive.slot_deltas AS d, unnest(d.slots, d.rows, d.bytes) AS delta (slot, rows, bytes)
       ) AS parts
 GROUP BY slot;

-- The plans: an array of slots makes the planner think anew at each call, which costs several times the call itself.
CREATE FUNCTION shardrive.file_metadata_changed() RETURNS trigger
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
        PERFORM shardrive.refuse_foreign_slots(changed_slots);
        INSERT INTO shardrive.slot_deltas (slots, rows, bytes) VALUES (changed_slots, row_deltas, byte_deltas);
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER file_metadata_inserted AFTER INSERT ON public.file_metadata
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION shardrive.file_metadata_changed();
CREATE TRIGGER file_metadata_updated AFTER UPDATE ON public.file_metadata
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION shardrive.file_metadata_changed();
CREATE TRIGGER file_metadata_deleted AFTER DELETE ON public.file_metadata
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION shardrive.file_metadata_changed();

-- TRUNCATE holds ACCESS EXCLUSIVE, so that no writer's delta can be missing from these sums.
CREATE FUNCTION shardrive.file_metadata_truncated() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM shardrive.enter_write();
    INSERT INTO shardrive.slot_deltas (slots, rows, bytes)
    SELECT array_agg(slot), array_agg(-rows), array_agg(-bytes)
      FROM shardrive.slot_totals
     WHERE rows <> 0 OR bytes <> 0
    HAVING count(*) > 0;
    RETURN NULL;
END
$$;

CREATE TRIGGER file_metadata_truncated AFTER TRUNCATE ON public.file_metadata
    FOR EACH STATEMENT EXECUTE FUNCTION shardrive.file_metadata_truncated();
