-- Keyed documents: named collections, each spread over the shards by a key that it declares.

-- Every shard knows every collection, as it knows the whole slot map.
CREATE TABLE shardrive.collections (
    name            text COLLATE "C" PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9_-]{0,62}$'),
    -- The document's field that holds the shard key. NULL: the key stands in the request alone, or there is none.
    shard_key       text,
    -- NULL: documents have no shard key and are spread over all slots.
    key_type        text CHECK (key_type IN ('integer', 'string')),
    -- 'one': a document's key is its shard key. 'many': it is minted, and many documents share a shard key.
    records_per_key text NOT NULL CHECK (records_per_key IN ('one', 'many')),
    created_at      timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT collections_shard_key_check CHECK (shard_key IS NULL OR key_type IS NOT NULL),
    CONSTRAINT collections_many_check CHECK (records_per_key = 'one' OR key_type IS NULL OR shard_key IS NOT NULL),
    CONSTRAINT collections_one_check CHECK (records_per_key = 'many' OR key_type IS NOT NULL)
);
COMMENT ON TABLE shardrive.collections IS 'What collections there are, and by what each is spread over the shards.';

-- Those behind /store, /write and /read, and /data.
INSERT INTO shardrive.collections (name, shard_key, key_type, records_per_key) VALUES
    ('store', 'userId', 'integer', 'one'),
    ('kv',    NULL,     'string',  'one'),
    ('data',  NULL,     NULL,      'many');

-- The slot of a string: its MD5, read as a 128-bit big-endian number, mod 5040. By parts of 32 bits, as the remainder
-- of each part and what follows still fits a bigint.
CREATE FUNCTION shardrive.slot_of(key text) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ((((
        ('x' || substr(md5(key),  1, 8))::bit(32)::bigint % 5040 * 4294967296
      + ('x' || substr(md5(key),  9, 8))::bit(32)::bigint) % 5040 * 4294967296
      + ('x' || substr(md5(key), 17, 8))::bit(32)::bigint) % 5040 * 4294967296
      + ('x' || substr(md5(key), 25, 8))::bit(32)::bigint) % 5040)::int;

-- Microseconds since 1970: versions that grow also when a document was deleted and came back.
CREATE FUNCTION shardrive.clock_micros() RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;

CREATE TABLE public.records (
    collection text COLLATE "C" NOT NULL,
    key        text COLLATE "C" NOT NULL,
    slot       int         NOT NULL,
    shard_key  text COLLATE "C",
    -- json, not jsonb: what was stored comes back as it was written, numbers and order of fields included.
    document   json        NOT NULL,
    version    bigint      NOT NULL DEFAULT shardrive.clock_micros(),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),

    -- The slot is part of the key, so that a move's row filter finds it in the replica identity; last, so that a
    -- collection is listed in the order of its keys.
    CONSTRAINT records_pkey PRIMARY KEY (collection, key, slot),
    CONSTRAINT records_slot_check CHECK (slot BETWEEN 0 AND 5039),
    CONSTRAINT records_key_check CHECK (key <> '' AND octet_length(key) <= 1024)
);
CREATE INDEX records_shard_key_idx ON public.records (collection, shard_key, key) WHERE shard_key IS NOT NULL;

COMMENT ON TABLE  public.records IS 'One row for each document of the slots that this shard owns.';
COMMENT ON COLUMN public.records.slot IS 'Of the shard key: shardrive.slot_of(number) or shardrive.slot_of(text).';
COMMENT ON COLUMN public.records.shard_key IS 'In collections with many documents for a key: the key that this one belongs to.';
COMMENT ON COLUMN public.records.version IS 'Another one after each change; the ETag.';

-- For people: INSERT INTO records (collection, key, document) finds the slot by itself.
CREATE FUNCTION shardrive.place_record() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    declared shardrive.collections;
BEGIN
    SELECT * INTO declared FROM shardrive.collections WHERE name = NEW.collection;
    IF declared IS NULL THEN
        RAISE EXCEPTION 'there is no collection %', NEW.collection
            USING ERRCODE = 'foreign_key_violation', HINT = 'SELECT * FROM shardrive.collections';
    END IF;
    IF declared.records_per_key = 'many' AND NEW.shard_key IS NULL THEN
        RAISE EXCEPTION 'a document of % needs a slot', NEW.collection
            USING ERRCODE = 'not_null_violation', HINT = 'Store it through the service, which mints its key.';
    END IF;
    IF declared.key_type = 'integer' THEN
        NEW.slot := shardrive.slot_of(coalesce(NEW.shard_key, NEW.key)::bigint);
    ELSE
        NEW.slot := shardrive.slot_of(coalesce(NEW.shard_key, NEW.key));
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER records_place BEFORE INSERT ON public.records
    FOR EACH ROW WHEN (NEW.slot IS NULL)
    EXECUTE FUNCTION shardrive.place_record();

CREATE FUNCTION shardrive.touch_record() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := greatest(OLD.version + 1, shardrive.clock_micros());
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

CREATE TRIGGER records_touch BEFORE UPDATE ON public.records
    FOR EACH ROW WHEN (NEW.version = OLD.version)
    EXECUTE FUNCTION shardrive.touch_record();

-- Counts of their own, beside those of the files: a process that does not know them yet must not fold them away.
CREATE TABLE shardrive.record_counts (
    slot  int     PRIMARY KEY CHECK (slot BETWEEN 0 AND 5039),
    owned boolean NOT NULL DEFAULT false,
    rows  bigint  NOT NULL DEFAULT 0,
    bytes bigint  NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

INSERT INTO shardrive.record_counts (slot, owned)
SELECT slot, owned FROM shardrive.slot_counts;

CREATE TABLE shardrive.record_deltas (
    slots int[]    NOT NULL,
    rows  bigint[] NOT NULL,
    bytes bigint[] NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

CREATE VIEW shardrive.record_totals AS
SELECT slot, sum(rows)::bigint AS rows, sum(bytes)::bigint AS bytes
  FROM (
        SELECT slot, rows, bytes FROM shardrive.record_counts
        UNION ALL
        SELECT delta.* FROM shardrive.record_deltas AS d, unnest(d.slots, d.rows, d.bytes) AS delta (slot, rows, bytes)
       ) AS parts
 GROUP BY slot;

-- A trigger of its own: another one on the map, so that nothing that exists changes.
CREATE FUNCTION shardrive.slot_map_changed_records() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    self int := (SELECT shard_id FROM shardrive.identity);
BEGIN
    UPDATE shardrive.record_counts AS c
       SET owned = m.owner IS NOT DISTINCT FROM self
      FROM shardrive.slot_map AS m
     WHERE m.slot = c.slot AND c.owned <> (m.owner IS NOT DISTINCT FROM self);
    RETURN NULL;
END
$$;

CREATE TRIGGER slot_map_changed_records AFTER INSERT OR DELETE OR UPDATE OF owner ON shardrive.slot_map
    FOR EACH STATEMENT EXECUTE FUNCTION shardrive.slot_map_changed_records();

-- The guard and the counts, as for file_metadata. Bytes are those of the documents' text.
CREATE FUNCTION shardrive.records_changed() RETURNS trigger
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
        PERFORM shardrive.refuse_foreign_slots(changed_slots);
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

CREATE FUNCTION shardrive.records_truncated() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM shardrive.enter_write();
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
