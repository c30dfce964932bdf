-- Documents: named collections, each spread over the shards by a key that the collection declares.

-- Every shard lists every collection.
CREATE TABLE shardrive.collections (
    name            text COLLATE "C" PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9_-]{0,62}$'),
    -- The document's field that holds the shard key. NULL: the key stands in the request alone, or there is no shard
    -- key.
    shard_key       text,
    -- NULL: documents have no shard key, and spread over all slots.
    key_type        text CHECK (key_type IN ('integer', 'string')),
    -- 'one': a document's key is its shard key. 'many': the service mints the key, and many documents share a shard
    -- key.
    records_per_key text NOT NULL CHECK (records_per_key IN ('one', 'many')),
    created_at      timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT collections_shard_key_check CHECK (
        shard_key IS NULL OR key_type IS NOT NULL AND octet_length(shard_key) BETWEEN 1 AND 255
    ),
    CONSTRAINT collections_many_check CHECK (records_per_key = 'one' OR key_type IS NULL OR shard_key IS NOT NULL),
    CONSTRAINT collections_one_check CHECK (records_per_key = 'many' OR key_type IS NOT NULL)
);
COMMENT ON TABLE shardrive.collections IS 'What collections there are, and by what each is spread over the shards.';

-- The routes /store, /write and /read, and /data use these collections.
INSERT INTO shardrive.collections (name, shard_key, key_type, records_per_key) VALUES
    ('store', 'userId', 'integer', 'one'),
    ('kv',    NULL,     'string',  'one'),
    ('data',  NULL,     NULL,      'many');

-- Microseconds since 1970: versions grow also when a document was deleted and came back.
CREATE FUNCTION shardrive.clock_micros() RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;

-- The limits are checks of types instead of constraints of the table, as those of files are (0003_files.sql). A check of
-- the key throttles the copy of a move (0002_ownership.sql).
CREATE DOMAIN shardrive.record_key AS text COLLATE "C"
    CONSTRAINT records_key_check CHECK (VALUE <> '' AND octet_length(VALUE) <= 1024)
    CONSTRAINT record_key_copy_throttle CHECK (hashtext(VALUE) & 15 <> 0 OR shardrive.throttle_copy(16));
CREATE DOMAIN shardrive.shard_key AS text COLLATE "C" CONSTRAINT records_shard_key_check CHECK (
    octet_length(VALUE) BETWEEN 1 AND 1024
);
-- 1 MiB, as the service takes them, and the four bytes of the length before them. A stored document may be packed, never
-- longer.
CREATE DOMAIN shardrive.document AS json CONSTRAINT records_document_check CHECK (pg_column_size(VALUE) <= 1048580);
-- psql takes times that the service cannot read.
CREATE DOMAIN shardrive.record_time AS timestamptz CONSTRAINT records_times_check CHECK (
    VALUE > '-infinity' AND VALUE < '200000-01-01T00:00:00Z'
);

CREATE TABLE public.records (
    collection text COLLATE "C"      NOT NULL,
    key        shardrive.record_key  NOT NULL,
    slot       int                   NOT NULL,
    shard_key  shardrive.shard_key,
    -- json, not jsonb: a document comes back as it was written, numbers and order of fields included.
    document   shardrive.document    NOT NULL,
    -- The bytes of its text, so that a page, a count or a batch knows them without unpacking the document.
    size_bytes int                   NOT NULL GENERATED ALWAYS AS (octet_length(document::text)) STORED,
    version    bigint                NOT NULL DEFAULT shardrive.clock_micros(),
    created_at shardrive.record_time NOT NULL DEFAULT now(),
    updated_at shardrive.record_time NOT NULL DEFAULT now(),

    -- The slot is part of the key, so that a move's row filter finds it in the replica identity. It comes last, so
    -- that a collection is listed in the order of its keys.
    CONSTRAINT records_pkey PRIMARY KEY (collection, key, slot),
    -- No type of its own: a row filter takes none.
    CONSTRAINT records_slot_check CHECK (slot BETWEEN 0 AND 5039)
);
COMMENT ON TABLE  public.records IS 'One row for each document of the slots that this shard owns.';
COMMENT ON COLUMN public.records.slot IS 'Of the shard key: shardrive.slot_of(number) or shardrive.slot_of(text).';
COMMENT ON COLUMN public.records.shard_key IS 'In collections with many documents for a key: the key that this one belongs to.';
COMMENT ON COLUMN public.records.version IS 'Another one after each change; the ETag.';

CREATE INDEX records_shard_key_idx ON public.records (collection, shard_key, key) WHERE shard_key IS NOT NULL;
-- A move reads the rows of its slots alone (docs/decisions/0026-slot-index.md).
CREATE INDEX records_slot_idx ON public.records (slot);

-- Finds the slot for people who type INSERT INTO records (collection, key, document).
CREATE FUNCTION shardrive.place_record() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    declared   shardrive.collections;
    sharded_by text := coalesce(NEW.shard_key, NEW.key);
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
    IF declared.records_per_key = 'one' AND NEW.shard_key IS NOT NULL THEN
        RAISE EXCEPTION 'a document of % has no shard key besides its key', NEW.collection
            USING ERRCODE = 'check_violation', HINT = 'Leave out shard_key.';
    END IF;
    IF declared.key_type = 'integer' THEN
        IF sharded_by::bigint::text <> sharded_by THEN
            RAISE EXCEPTION '% is not as the service writes this number: %', sharded_by, sharded_by::bigint
                USING ERRCODE = 'check_violation', HINT = 'The service would not find the document.';
        END IF;
        NEW.slot := shardrive.slot_of(sharded_by::bigint);
    ELSE
        NEW.slot := shardrive.slot_of(sharded_by);
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER records_place BEFORE INSERT ON public.records
    FOR EACH ROW WHEN (NEW.slot IS NULL)
    EXECUTE FUNCTION shardrive.place_record();

-- A document stays in its collection, under its key and in its slot: nobody would find it elsewhere.
CREATE FUNCTION shardrive.refuse_other_record() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'collection, key, shard_key and slot of a document do not change'
        USING ERRCODE = 'SD008',
              DETAIL = format('collection %s, key %s', OLD.collection, OLD.key),
              HINT = 'INSERT the document under the other key without a slot, then DELETE this row.';
END
$$;

CREATE TRIGGER records_same_record BEFORE UPDATE ON public.records
    FOR EACH ROW WHEN (NEW.collection <> OLD.collection OR NEW.key <> OLD.key OR NEW.slot <> OLD.slot
                       OR NEW.shard_key IS DISTINCT FROM OLD.shard_key)
    EXECUTE FUNCTION shardrive.refuse_other_record();

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
