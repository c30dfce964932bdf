-- Exact counts of rows and bytes for each slot, and the triggers that keep them: the guard runs in the same triggers
-- (docs/decisions/0002-guard.md, docs/decisions/0006-exact-counts.md).
--
-- The triggers fire for statements, not rows: a batch pays once. Rows from logical replication fire no trigger
-- (session_replication_role = replica), so that rows may arrive before the ownership of the slot.

-- The bytes of files are numeric: two files may each tell of 2^63 - 1 bytes, and no sum of sizes may fail. The bytes of
-- documents are real, and no disk holds more bytes than a bigint.
--
-- A slot's count is the sum of slot_counts and slot_deltas. A transaction appends its change to slot_deltas, so that
-- no writer waits for another writer; a periodic task folds the deltas into slot_counts.
CREATE TABLE shardrive.slot_counts (
    slot  int     PRIMARY KEY CHECK (slot BETWEEN 0 AND 5039),
    rows  bigint  NOT NULL DEFAULT 0,
    bytes numeric NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- One row for each statement, its slots in arrays: a bulk load touches thousands of slots at once.
CREATE TABLE shardrive.slot_deltas (
    slots int[]     NOT NULL,
    rows  bigint[]  NOT NULL,
    bytes numeric[] NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
-- A row lives until the next fold, and is not worth compressing (docs/decisions/0009-where-the-time-goes.md, point 28).
ALTER TABLE shardrive.slot_deltas
    ALTER slots SET STORAGE EXTERNAL, ALTER rows SET STORAGE EXTERNAL, ALTER bytes SET STORAGE EXTERNAL;

-- The counts now, with the deltas that are not folded yet.
CREATE VIEW shardrive.slot_totals AS
SELECT slot, sum(rows)::bigint AS rows, sum(bytes) AS bytes
  FROM (
        SELECT slot, rows, bytes FROM shardrive.slot_counts
        UNION ALL
        SELECT delta.* FROM shardrive.slot_deltas AS d, unnest(d.slots, d.rows, d.bytes) AS delta (slot, rows, bytes)
       ) AS parts
 GROUP BY slot;

-- The same three for documents.
CREATE TABLE shardrive.record_counts (
    slot  int    PRIMARY KEY CHECK (slot BETWEEN 0 AND 5039),
    rows  bigint NOT NULL DEFAULT 0,
    bytes bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE TABLE shardrive.record_deltas (
    slots int[]    NOT NULL,
    rows  bigint[] NOT NULL,
    bytes bigint[] NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
ALTER TABLE shardrive.record_deltas
    ALTER slots SET STORAGE EXTERNAL, ALTER rows SET STORAGE EXTERNAL, ALTER bytes SET STORAGE EXTERNAL;

CREATE VIEW shardrive.record_totals AS
SELECT slot, sum(rows)::bigint AS rows, sum(bytes)::bigint AS bytes
  FROM (
        SELECT slot, rows, bytes FROM shardrive.record_counts
        UNION ALL
        SELECT delta.* FROM shardrive.record_deltas AS d, unnest(d.slots, d.rows, d.bytes) AS delta (slot, rows, bytes)
       ) AS parts
 GROUP BY slot;

INSERT INTO shardrive.slot_counts (slot) SELECT generate_series(0, 5039);
INSERT INTO shardrive.record_counts (slot) SELECT generate_series(0, 5039);

-- The counts of all slots of this shard together, so that `GET /stats` reads one row of each kind. The triggers of the
-- counts and of the map keep both rows. Whoever changes counts or owners must hold the lock (5040, 3).
CREATE TABLE shardrive.shard_counts (
    kind  text    PRIMARY KEY CHECK (kind IN ('files', 'documents')),
    rows  bigint  NOT NULL DEFAULT 0,
    bytes numeric NOT NULL DEFAULT 0
);
INSERT INTO shardrive.shard_counts (kind) VALUES ('files'), ('documents');

-- What shard_counts must say.
CREATE VIEW shardrive.owned_sums AS
SELECT part.kind, coalesce(sum(part.rows) FILTER (WHERE part.is_owned), 0)::bigint AS rows,
       coalesce(sum(part.bytes) FILTER (WHERE part.is_owned), 0) AS bytes
  FROM shardrive.coverage
 CROSS JOIN LATERAL (
        SELECT 'files' AS kind, rows, bytes, get_bit(coverage.owned, slot) = 1 AS is_owned FROM shardrive.slot_counts
        UNION ALL
        SELECT 'documents', rows, bytes, get_bit(coverage.owned, slot) = 1 FROM shardrive.record_counts
       ) AS part
 GROUP BY part.kind;

-- Adds what a statement changed in the counts of this shard's slots. There is no join: a plan that was made for a few rows
-- serves a fold of thousands as well.
CREATE FUNCTION shardrive.counts_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE shardrive.shard_counts AS t
       SET rows = t.rows + change.rows, bytes = t.bytes + change.bytes
      FROM (
            SELECT sum(part.rows)::bigint AS rows, sum(part.bytes) AS bytes
              FROM shardrive.coverage,
                   (SELECT slot, rows, bytes FROM new_counts
                    UNION ALL
                    SELECT slot, -rows, -bytes FROM old_counts) AS part
             WHERE get_bit(coverage.owned, part.slot) = 1
            HAVING count(*) > 0
           ) AS change
     WHERE t.kind = TG_ARGV[0];
    RETURN NULL;
END
$$;

CREATE TRIGGER slot_counts_changed AFTER UPDATE ON shardrive.slot_counts
    REFERENCING OLD TABLE AS old_counts NEW TABLE AS new_counts
    FOR EACH STATEMENT EXECUTE FUNCTION shardrive.counts_changed('files');
CREATE TRIGGER record_counts_changed AFTER UPDATE ON shardrive.record_counts
    REFERENCING OLD TABLE AS old_counts NEW TABLE AS new_counts
    FOR EACH STATEMENT EXECUTE FUNCTION shardrive.counts_changed('documents');

-- Sets the coverage and the counts of the shard anew when rows of the map come or go, as in a set-up.
CREATE FUNCTION shardrive.slot_map_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    self int := (SELECT shard_id FROM shardrive.identity);
BEGIN
    PERFORM pg_advisory_xact_lock(5040, 3);
    UPDATE shardrive.coverage
       SET owned = map.owned, slots = map.slots, digest = map.digest, others = map.others
      FROM (
            SELECT shardrive.set_slot_bits(decode(repeat('00', 630), 'hex'),
                                           coalesce(array_agg(slot) FILTER (WHERE owner = self), '{}'), 1)   AS owned,
                   count(*) FILTER (WHERE owner = self)                                          AS slots,
                   coalesce(bit_xor(hashint4extended(slot, 0)) FILTER (WHERE owner = self), 0)   AS digest,
                   coalesce(bit_xor(hashint4extended(slot, 0)) FILTER (WHERE owner <> self), 0)  AS others
              FROM shardrive.slot_map
           ) AS map;
    UPDATE shardrive.shard_counts AS t
       SET rows = summed.rows, bytes = summed.bytes
      FROM shardrive.owned_sums AS summed
     WHERE t.kind = summed.kind;
    RETURN NULL;
END
$$;

CREATE TRIGGER slot_map_changed AFTER INSERT OR DELETE ON shardrive.slot_map
    FOR EACH STATEMENT EXECUTE FUNCTION shardrive.slot_map_changed();

-- The same for new owners, by the changed slots alone: writers wait for a change of owners.
CREATE FUNCTION shardrive.slot_owners_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    self int := (SELECT shard_id FROM shardrive.identity);
BEGIN
    PERFORM pg_advisory_xact_lock(5040, 3);
    WITH changed AS MATERIALIZED (
        SELECT n.slot, n.owner IS NOT DISTINCT FROM self AS owned
          FROM new_map AS n
          JOIN old_map AS o USING (slot)
         WHERE (n.owner IS NOT DISTINCT FROM self) <> (o.owner IS NOT DISTINCT FROM self)
    ), counted AS (
        UPDATE shardrive.shard_counts AS t
           SET rows = t.rows + gained.rows, bytes = t.bytes + gained.bytes
          FROM (
                SELECT part.kind, sum(CASE WHEN changed.owned THEN part.rows ELSE -part.rows END)::bigint AS rows,
                       sum(CASE WHEN changed.owned THEN part.bytes ELSE -part.bytes END) AS bytes
                  FROM changed
                  JOIN (SELECT 'files' AS kind, slot, rows, bytes FROM shardrive.slot_counts
                        UNION ALL
                        SELECT 'documents', slot, rows, bytes FROM shardrive.record_counts) AS part USING (slot)
                 GROUP BY part.kind
               ) AS gained
         WHERE t.kind = gained.kind
    )
    UPDATE shardrive.coverage
       SET owned = shardrive.set_slot_bits(shardrive.set_slot_bits(coverage.owned, sums.taken, 1), sums.given_up, 0),
           slots = slots + sums.gained, digest = digest # sums.bits, others = others # sums.bits
      FROM (
            SELECT coalesce(array_agg(slot) FILTER (WHERE changed.owned), '{}')     AS taken,
                   coalesce(array_agg(slot) FILTER (WHERE NOT changed.owned), '{}') AS given_up,
                   sum(CASE WHEN changed.owned THEN 1 ELSE -1 END)                  AS gained,
                   bit_xor(hashint4extended(slot, 0))                               AS bits
              FROM changed
            HAVING count(*) > 0
           ) AS sums;
    RETURN NULL;
END
$$;

CREATE TRIGGER slot_owners_changed AFTER UPDATE ON shardrive.slot_map
    REFERENCING OLD TABLE AS old_map NEW TABLE AS new_map
    FOR EACH STATEMENT EXECUTE FUNCTION shardrive.slot_owners_changed();

-- Runs after every statement that changes files, in this order: the guard, the keys for a move, the counts.
CREATE FUNCTION shardrive.file_metadata_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    changed_slots int[];
    row_deltas    bigint[];
    byte_deltas   numeric[];
    placed_slots  int[];
    is_gone       boolean;
    rootless      bigint[];
    has_folders   boolean;
    taken         text;
    is_placed     boolean;
    is_counted    boolean := false;
    is_free       boolean;
    is_negative   boolean;
    is_misnamed   boolean;
    has_entered   boolean := shardrive.enter_write();
BEGIN
    IF TG_OP = 'INSERT' THEN
        -- One statement judges and counts a lone row of a slot that is this shard's and not on the move.
        INSERT INTO shardrive.slot_deltas (slots, rows, bytes)
        SELECT ARRAY[shardrive.slot_of(n.user_id)], '{1}', ARRAY[coalesce(n.size_bytes, 0)::numeric]
          FROM new_rows AS n
         WHERE NOT EXISTS (SELECT FROM new_rows OFFSET 1)
           AND n.user_id >= 0
           AND get_bit((SELECT owned FROM shardrive.coverage), shardrive.slot_of(n.user_id)) = 1
           AND NOT EXISTS (SELECT FROM shardrive.local_moves AS l WHERE get_bit(l.slots, shardrive.slot_of(n.user_id)) = 1)
        RETURNING (SELECT folder_id IS NOT NULL FROM new_rows) INTO is_placed;
        is_counted := FOUND;
        IF is_counted AND NOT is_placed THEN
            RETURN NULL;
        END IF;
        SELECT array_agg(slot), array_agg(n), array_agg(b), array_agg(slot) FILTER (WHERE p),
               bool_and(get_bit((SELECT owned FROM shardrive.coverage), slot) = 1
                        AND NOT EXISTS (SELECT FROM shardrive.local_moves AS l WHERE get_bit(l.slots, slot) = 1)),
               bool_or(negative), bool_or(m)
          INTO changed_slots, row_deltas, byte_deltas, placed_slots, is_free, is_negative, is_misnamed
          FROM (SELECT shardrive.slot_of(user_id) AS slot, count(*) AS n, coalesce(sum(size_bytes), 0) AS b,
                       bool_or(folder_id IS NOT NULL) AS p, bool_or(user_id < 0) AS negative,
                       bool_or(folder_id IS NOT NULL AND file_name IN ('.', '..')) AS m
                  FROM new_rows GROUP BY 1) AS change;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(slot), array_agg(n), array_agg(b),
               bool_and(get_bit((SELECT owned FROM shardrive.coverage), slot) = 1
                        AND NOT EXISTS (SELECT FROM shardrive.local_moves AS l WHERE get_bit(l.slots, slot) = 1))
               AND coalesce(current_setting('shardrive.clean_up', true), '') <> 'on'
          INTO changed_slots, row_deltas, byte_deltas, is_free
          FROM (SELECT shardrive.slot_of(user_id) AS slot, -count(*) AS n, -coalesce(sum(size_bytes), 0) AS b
                  FROM old_rows GROUP BY 1) AS change;
    ELSE
        SELECT array_agg(slot), array_agg(0), array_agg(b),
               bool_and(get_bit((SELECT owned FROM shardrive.coverage), slot) = 1
                        AND NOT EXISTS (SELECT FROM shardrive.local_moves AS l WHERE get_bit(l.slots, slot) = 1)),
               bool_or(p)
          INTO changed_slots, row_deltas, byte_deltas, is_free, is_placed
          FROM (SELECT shardrive.slot_of(user_id) AS slot, sum(b) AS b, bool_or(p) AS p
                  FROM (SELECT user_id, coalesce(size_bytes, 0)::numeric AS b, folder_id IS NOT NULL AS p FROM new_rows
                        UNION ALL
                        SELECT user_id, -coalesce(size_bytes, 0)::numeric, false FROM old_rows) AS both_sides
                 GROUP BY 1) AS change;
        -- Files without a folder have no entry that could be taken. Each row has its old self beside it, as a row keeps
        -- user and id.
        IF is_placed THEN
            SELECT array_agg(DISTINCT shardrive.slot_of(n.user_id))
                     FILTER (WHERE n.folder_id IS DISTINCT FROM o.folder_id
                                   OR n.trashed_at IS NULL
                                      AND (n.file_name, n.trashed_at) IS DISTINCT FROM (o.file_name, o.trashed_at)),
                   bool_or(n.file_name IN ('.', '..'))
              INTO placed_slots, is_misnamed
              FROM new_rows AS n JOIN old_rows AS o USING (user_id, file_id)
             WHERE n.folder_id IS NOT NULL;
        END IF;
    END IF;

    -- A CHECK of the table would cost each statement more, here and below.
    IF is_negative THEN
        RAISE EXCEPTION 'the user_id of a file is negative'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'file_metadata_user_id_check';
    END IF;

    IF changed_slots IS NOT NULL THEN
        IF is_free IS NOT TRUE AND shardrive.guard_slots(changed_slots, TG_OP = 'DELETE') THEN
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
        -- Most changes of files leave all sizes as they are.
        IF NOT is_counted AND (TG_OP <> 'UPDATE' OR 0 <> ANY (byte_deltas)) THEN
            INSERT INTO shardrive.slot_deltas (slots, rows, bytes) VALUES (changed_slots, row_deltas, byte_deltas);
        END IF;
    END IF;

    -- A name in a folder is a part of a path.
    IF is_misnamed THEN
        RAISE EXCEPTION 'a file in a folder is named . or .., which no part of a path is'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'file_metadata_entry_check';
    END IF;

    -- A file stands in a folder that is there, beside no folder of its name (migrations/0011_folders.sql).
    IF placed_slots IS NOT NULL THEN
        PERFORM shardrive.hold_drives(placed_slots, false);
        -- In a statement of its own, whose snapshot is taken after the locks. Most folders that files go into hold no
        -- folder, which one look for each folder tells.
        SELECT bool_or(around.is_there IS NULL AND p.folder_id <> '00000000-0000-0000-0000-000000000000'),
               array_agg(p.user_id) FILTER (WHERE around.is_there IS NULL), bool_or(inside.is_there)
          INTO is_gone, rootless, has_folders
          FROM (SELECT DISTINCT user_id, folder_id FROM new_rows WHERE folder_id IS NOT NULL) AS p
          LEFT JOIN LATERAL (
                SELECT true AS is_there FROM public.folders AS k WHERE k.user_id = p.user_id AND k.folder_id = p.folder_id LIMIT 1
               ) AS around ON true
          LEFT JOIN LATERAL (
                -- The order keeps to the index: the planner takes the first folder for near, and would look for it in
                -- the whole table.
                SELECT true AS is_there
                  FROM public.folders AS k
                 WHERE k.user_id = p.user_id AND k.parent_id = p.folder_id AND k.trashed_at IS NULL
                 ORDER BY shardrive.entry_key(k.folder_name)
                 LIMIT 1
               ) AS inside ON true;
        PERFORM shardrive.refuse_gone(is_gone);
        IF rootless IS NOT NULL THEN
            PERFORM shardrive.make_roots(rootless);
        END IF;
        IF has_folders THEN
            SELECT n.file_name INTO taken
              FROM new_rows AS n
             CROSS JOIN LATERAL (
                    SELECT FROM public.folders AS k
                     WHERE k.user_id = n.user_id AND k.parent_id = n.folder_id AND k.trashed_at IS NULL
                       AND shardrive.entry_key(k.folder_name) = shardrive.entry_key(n.file_name)
                     LIMIT 1
                   ) AS same
             WHERE n.folder_id IS NOT NULL AND n.trashed_at IS NULL
             LIMIT 1;
            IF FOUND THEN
                RAISE EXCEPTION 'a folder has the name %', taken
                    USING ERRCODE = 'unique_violation', CONSTRAINT = 'file_metadata_name_idx';
            END IF;
        END IF;
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

-- The same for documents. The bytes of a document are the bytes of the text.
CREATE FUNCTION shardrive.records_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    changed_slots int[];
    row_deltas    bigint[];
    byte_deltas   bigint[];
    is_free       boolean;
    has_entered   boolean := shardrive.enter_write();
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(slot), array_agg(n), array_agg(b),
               bool_and(get_bit((SELECT owned FROM shardrive.coverage), slot) = 1
                        AND NOT EXISTS (SELECT FROM shardrive.local_moves AS l WHERE get_bit(l.slots, slot) = 1))
          INTO changed_slots, row_deltas, byte_deltas, is_free
          FROM (SELECT slot, count(*) AS n, sum(size_bytes)::bigint AS b
                  FROM new_rows GROUP BY slot) AS change;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(slot), array_agg(n), array_agg(b),
               bool_and(get_bit((SELECT owned FROM shardrive.coverage), slot) = 1
                        AND NOT EXISTS (SELECT FROM shardrive.local_moves AS l WHERE get_bit(l.slots, slot) = 1))
               AND coalesce(current_setting('shardrive.clean_up', true), '') <> 'on'
          INTO changed_slots, row_deltas, byte_deltas, is_free
          FROM (SELECT slot, -count(*) AS n, -sum(size_bytes)::bigint AS b
                  FROM old_rows GROUP BY slot) AS change;
    ELSE
        SELECT array_agg(slot), array_agg(n), array_agg(b),
               bool_and(get_bit((SELECT owned FROM shardrive.coverage), slot) = 1
                        AND NOT EXISTS (SELECT FROM shardrive.local_moves AS l WHERE get_bit(l.slots, slot) = 1))
          INTO changed_slots, row_deltas, byte_deltas, is_free
          FROM (SELECT slot, sum(n)::bigint AS n, sum(b)::bigint AS b
                  FROM (SELECT slot, 1 AS n, size_bytes AS b FROM new_rows
                        UNION ALL
                        SELECT slot, -1, -size_bytes FROM old_rows) AS both_sides
                 GROUP BY slot) AS change;
    END IF;

    IF changed_slots IS NOT NULL THEN
        IF is_free IS NOT TRUE AND shardrive.guard_slots(changed_slots, TG_OP = 'DELETE') THEN
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

CREATE TRIGGER records_inserted AFTER INSERT ON public.records
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION shardrive.records_changed();
CREATE TRIGGER records_updated AFTER UPDATE ON public.records
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION shardrive.records_changed();
CREATE TRIGGER records_deleted AFTER DELETE ON public.records
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION shardrive.records_changed();

-- Counts a TRUNCATE, which holds ACCESS EXCLUSIVE: no writer's delta is missing from these sums.
CREATE FUNCTION shardrive.file_metadata_truncated() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM shardrive.enter_truncate();
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

CREATE FUNCTION shardrive.records_truncated() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM shardrive.enter_truncate();
    INSERT INTO shardrive.record_deltas (slots, rows, bytes)
    SELECT array_agg(slot), array_agg(-rows), array_agg(-bytes)
      FROM shardrive.record_totals
     WHERE rows <> 0 OR bytes <> 0
    HAVING count(*) > 0;
    RETURN NULL;
END
$$;

CREATE TRIGGER records_truncated AFTER TRUNCATE ON public.records
    FOR EACH STATEMENT EXECUTE FUNCTION shardrive.records_truncated();

-- Sets the counts of one table for slots that nobody can write to at the moment: the triggers did not count the rows
-- that replication brought or a clean-up removed. Folding waits meanwhile, as folding moves numbers between the two
-- tables.
CREATE FUNCTION shardrive.set_counts(
    counts regclass, deltas regclass, given int[], new_rows bigint[], new_bytes numeric[]
) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(5040, 3);
    EXECUTE format(
        'WITH pending AS (
             SELECT delta.slot, sum(delta.rows)::bigint AS rows, sum(delta.bytes) AS bytes
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
