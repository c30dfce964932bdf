-- Events: changes of files, folders and documents, published in order (docs/decisions/0024-events.md).
--
-- No trigger fires until shardrive.switch_events(true): a disabled trigger costs nothing.

-- The unpublished changes. Each transaction that changes a row appends to the outbox; a relay removes the published
-- ones.
CREATE TABLE shardrive.outbox (
    -- Changes of one row are in order. Across rows, a change acknowledged before another began has the lower id.
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    slot       int         NOT NULL,
    kind       text        NOT NULL,
    -- Of a file or a folder.
    user_id    bigint,
    file_id    uuid,
    folder_id  uuid,
    size_bytes bigint,
    -- Of a document.
    collection text,
    key        text,
    shard_key  text,
    version    bigint,
    at         timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- When a relay was last at work, and the events dropped because no relay published them in time.
CREATE TABLE shardrive.relay (
    singleton    boolean     PRIMARY KEY DEFAULT true CHECK (singleton),
    seen_at      timestamptz,
    dropped      bigint      NOT NULL DEFAULT 0,
    dropped_from timestamptz,
    dropped_to   timestamptz,
    -- Since the beginning; for the metric.
    dropped_ever bigint      NOT NULL DEFAULT 0
);
INSERT INTO shardrive.relay DEFAULT VALUES;

-- What an update of a file or a folder was.
CREATE FUNCTION shardrive.kind_of_change(trashed_before timestamptz, trashed_now timestamptz) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN trashed_before IS NULL AND trashed_now IS NOT NULL THEN 'trashed'
            WHEN trashed_before IS NOT NULL AND trashed_now IS NULL THEN 'restored'
            ELSE 'updated' END;

-- The clean-up of a move is no event: the deleted rows live on another shard.
CREATE FUNCTION shardrive.record_file_events() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO shardrive.outbox (slot, kind, user_id, file_id, size_bytes)
        SELECT shardrive.slot_of(user_id), 'file.created', user_id, file_id, size_bytes FROM new_rows;
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO shardrive.outbox (slot, kind, user_id, file_id, size_bytes)
        SELECT shardrive.slot_of(n.user_id), 'file.' || shardrive.kind_of_change(o.trashed_at, n.trashed_at), n.user_id, n.file_id,
               n.size_bytes
          FROM new_rows AS n
          JOIN old_rows AS o USING (user_id, file_id);
    ELSIF current_setting('shardrive.clean_up', true) IS DISTINCT FROM 'on' THEN
        INSERT INTO shardrive.outbox (slot, kind, user_id, file_id, size_bytes)
        SELECT shardrive.slot_of(user_id), 'file.deleted', user_id, file_id, size_bytes FROM old_rows;
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION shardrive.record_document_events() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO shardrive.outbox (slot, kind, collection, key, shard_key, version)
        SELECT slot, 'record.created', collection, key, shard_key, version FROM new_rows;
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO shardrive.outbox (slot, kind, collection, key, shard_key, version)
        SELECT slot, 'record.updated', collection, key, shard_key, version FROM new_rows;
    ELSIF current_setting('shardrive.clean_up', true) IS DISTINCT FROM 'on' THEN
        INSERT INTO shardrive.outbox (slot, kind, collection, key, shard_key, version)
        SELECT slot, 'record.deleted', collection, key, shard_key, version FROM old_rows;
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER file_metadata_outbox_inserts AFTER INSERT ON public.file_metadata
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION shardrive.record_file_events();
CREATE TRIGGER file_metadata_outbox_updates AFTER UPDATE ON public.file_metadata
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION shardrive.record_file_events();
CREATE TRIGGER file_metadata_outbox_deletes AFTER DELETE ON public.file_metadata
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION shardrive.record_file_events();
CREATE TRIGGER records_outbox_inserts AFTER INSERT ON public.records
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION shardrive.record_document_events();
CREATE TRIGGER records_outbox_updates AFTER UPDATE ON public.records
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION shardrive.record_document_events();
CREATE TRIGGER records_outbox_deletes AFTER DELETE ON public.records
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION shardrive.record_document_events();

ALTER TABLE public.file_metadata DISABLE TRIGGER file_metadata_outbox_inserts;
ALTER TABLE public.file_metadata DISABLE TRIGGER file_metadata_outbox_updates;
ALTER TABLE public.file_metadata DISABLE TRIGGER file_metadata_outbox_deletes;
ALTER TABLE public.records DISABLE TRIGGER records_outbox_inserts;
ALTER TABLE public.records DISABLE TRIGGER records_outbox_updates;
ALTER TABLE public.records DISABLE TRIGGER records_outbox_deletes;

-- True if changes go to the outbox.
CREATE FUNCTION shardrive.records_events() RETURNS boolean
LANGUAGE sql STABLE
RETURN EXISTS (SELECT FROM pg_trigger
                WHERE tgrelid = 'public.file_metadata'::regclass AND tgname = 'file_metadata_outbox_inserts' AND tgenabled = 'O');

-- Switches the triggers of events. The switch waits for running writers, and new writers wait for the switch, at most a
-- second.
CREATE FUNCTION shardrive.switch_events(enabled boolean) RETURNS void
LANGUAGE plpgsql SET lock_timeout = '1s' AS $$
DECLARE
    one record;
BEGIN
    PERFORM pg_advisory_xact_lock(5040, 7);
    IF shardrive.records_events() = enabled THEN
        RETURN;
    END IF;
    FOR one IN SELECT tgrelid::regclass AS owner, tgname FROM pg_trigger WHERE tgname ~ '^(file_metadata|folders|records)_outbox_(inserts|updates|deletes)$'
                ORDER BY tgrelid::regclass::text, tgname LOOP
        EXECUTE format('ALTER TABLE %s %s TRIGGER %I', one.owner, CASE WHEN enabled THEN 'ENABLE' ELSE 'DISABLE' END, one.tgname);
    END LOOP;
    UPDATE shardrive.relay SET seen_at = now();
END
$$;

-- Keeps the outbox within `most` events: drops the oldest in batches and counts the drops, so that the next relay
-- publishes the gap. After `patience` without a relay, events are switched off until a relay comes.
CREATE FUNCTION shardrive.bound_outbox(most bigint, patience interval) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    newest bigint;
    gone   bigint;
    first  timestamptz;
    last   timestamptz;
    is_abandoned boolean;
BEGIN
    IF NOT pg_try_advisory_xact_lock(5040, 8) THEN
        RETURN 0;
    END IF;
    is_abandoned := (SELECT seen_at < now() - patience FROM shardrive.relay) AND shardrive.records_events();
    IF is_abandoned THEN
        PERFORM shardrive.switch_events(false);
    END IF;
    IF NOT shardrive.records_events() THEN
        most := 0;
    END IF;
    SELECT max(id) INTO newest FROM shardrive.outbox;
    WITH old AS (
        DELETE FROM shardrive.outbox
         WHERE id IN (SELECT id FROM shardrive.outbox WHERE id <= newest - most ORDER BY id LIMIT 20000)
        RETURNING at
    )
    SELECT count(*), min(at), max(at) INTO gone, first, last FROM old;
    IF gone > 0 THEN
        UPDATE shardrive.relay
           SET dropped = dropped + gone, dropped_ever = dropped_ever + gone,
               dropped_from = coalesce(dropped_from, first), dropped_to = last;
    END IF;
    RETURN gone;
END
$$;
