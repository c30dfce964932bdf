-- The folders of drives: a tree for each user. A file names its folder, and a folder names its parent
-- (docs/decisions/0030-tree.md).

CREATE TABLE public.folders (
    user_id      bigint      NOT NULL,
    -- The root is the nil UUID.
    folder_id    shardrive.row_id NOT NULL,
    parent_id    uuid,
    folder_name  text COLLATE "C" NOT NULL,
    trashed_at   timestamptz,
    tree_version bigint,
    version      bigint      NOT NULL DEFAULT shardrive.next_version(),
    created_at   shardrive.file_time NOT NULL DEFAULT now(),
    updated_at   shardrive.file_time NOT NULL DEFAULT now(),

    CONSTRAINT folders_pkey PRIMARY KEY (user_id, folder_id),
    CONSTRAINT folders_user_id_check CHECK (user_id >= 0),
    CONSTRAINT folders_root_check CHECK (
        (parent_id IS NULL) = (folder_id = '00000000-0000-0000-0000-000000000000')
        AND (parent_id IS NULL) = (folder_name = '')
        AND (parent_id IS NULL) = (tree_version IS NOT NULL)
        AND (parent_id IS NOT NULL OR trashed_at IS NULL)
    ),
    -- As the times of files; -infinity: a purge has begun.
    CONSTRAINT folders_trashed_at_check CHECK (
        trashed_at = '-infinity' OR trashed_at >= '0001-01-01T00:00:00Z' AND trashed_at < '10000-01-01T00:00:00Z'
    ),
    CONSTRAINT folders_folder_name_check CHECK (
        octet_length(folder_name) <= 1024 AND strpos(folder_name, '/') = 0 AND folder_name NOT IN ('.', '..')
    )
);
COMMENT ON TABLE  public.folders IS 'One row for each folder of the users whose slots this shard owns. The root has the nil UUID.';
COMMENT ON COLUMN public.folders.parent_id IS 'The folder around this folder. NULL: this is the root.';
COMMENT ON COLUMN public.folders.trashed_at IS 'When the folder was put into the trash, with all that is below it.';
COMMENT ON COLUMN public.folders.tree_version IS 'Of the root alone: grows with each rename, move, trash and restore of a folder of the drive.';
COMMENT ON COLUMN public.folders.version IS 'The number of the last change, from a sequence of the shard.';

-- One entry for a name: of folders that are not in the trash themselves.
CREATE UNIQUE INDEX folders_name_idx ON public.folders (user_id, parent_id, shardrive.entry_key(folder_name))
    WHERE trashed_at IS NULL;

-- The trash of a user, newest first.
CREATE INDEX folders_trash_idx ON public.folders (user_id, trashed_at, folder_id) WHERE trashed_at IS NOT NULL;

-- What is in the trash by itself, by the folder around it: for the purge of that folder.
CREATE INDEX folders_trashed_in_idx ON public.folders (user_id, parent_id, folder_id) WHERE trashed_at IS NOT NULL;

-- A request without a user finds a folder by the id alone. The root is left out: it has the same id for every user, and
-- a walk up to the root must not be led through the roots of others.
CREATE INDEX folders_folder_id_idx ON public.folders (folder_id) WHERE parent_id IS NOT NULL;

-- A move reads the rows of the moving slots alone.
CREATE INDEX folders_slot_idx ON public.folders ((user_id % 5040));

-- Keeps the drives of these slots until the end of the transaction, in an order in which nobody waits in a ring:
-- `alone` for who makes, places or deletes folders, and together with others for who puts files into folders. Then
-- nobody puts a file into a folder that is deleted in this moment, and no file and folder get one name. 256 locks serve
-- all drives, as a load holds the locks of thousands.
CREATE FUNCTION shardrive.hold_drives(slots int[], alone boolean) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF alone THEN
        PERFORM pg_advisory_xact_lock(5042, d.number)
           FROM (SELECT DISTINCT slot % 256 AS number FROM unnest(slots) AS s (slot) ORDER BY 1) AS d;
    ELSE
        PERFORM pg_advisory_xact_lock_shared(5042, d.number)
           FROM (SELECT DISTINCT slot % 256 AS number FROM unnest(slots) AS s (slot) ORDER BY 1) AS d;
    END IF;
END
$$;

-- Refuses an entry in a folder that is not there. To the service that is a conflict: another transaction has deleted
-- the folder since it looked, and it looks again.
CREATE FUNCTION shardrive.refuse_gone(is_gone boolean) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF is_gone THEN
        RAISE EXCEPTION 'an entry names a folder that its user does not have'
            USING ERRCODE = 'foreign_key_violation',
                  HINT = 'INSERT the folder first. The nil UUID is the root; a file without a folder_id is in no folder.';
    END IF;
END
$$;

-- Makes the roots of drives, where there are none.
CREATE FUNCTION shardrive.make_roots(owners bigint[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.folders (user_id, folder_id, folder_name, tree_version)
    SELECT DISTINCT owner, '00000000-0000-0000-0000-000000000000'::uuid, '', 1 FROM unnest(owners) AS o (owner) ORDER BY owner
    ON CONFLICT (user_id, folder_id) DO NOTHING;
END
$$;

-- Where a folder stands: its path with a slash at the end, which is empty for the root; and whether the folder and all
-- folders above it are out of the trash. No row: the folder, or one above it, is not there. For NULL, the root's. A
-- statement that joins this function gets its query in place of a call (PostgreSQL inlines it).
CREATE FUNCTION shardrive.folder_place(owner bigint, folder uuid) RETURNS TABLE (path text, is_live boolean)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    WITH RECURSIVE above (next_id, path, is_live, depth) AS (
        SELECT folder, ''::text COLLATE "C", true, 0
        UNION ALL
        SELECT f.parent_id, CASE WHEN f.parent_id IS NULL THEN a.path ELSE f.folder_name || '/' || a.path END,
               a.is_live AND f.trashed_at IS NULL, a.depth + 1
          FROM above AS a,
               LATERAL (SELECT * FROM public.folders WHERE user_id = owner AND folder_id = a.next_id LIMIT 1) AS f
         -- No folder is so deep. A cycle, which only writes without triggers can make, ends here.
         WHERE a.depth < 200
    )
    SELECT above.path, above.is_live FROM above WHERE above.next_id IS NULL;
END;

-- The path of a folder with a slash at its end. NULL: the folder, or one above it, is not there.
CREATE FUNCTION shardrive.folder_path(owner bigint, folder uuid) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (SELECT path FROM shardrive.folder_place(owner, folder) WHERE folder IS NOT NULL);

-- True if the folder and all folders above it are out of the trash.
CREATE FUNCTION shardrive.is_live(owner bigint, folder uuid) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN coalesce((SELECT is_live FROM shardrive.folder_place(owner, folder) WHERE folder IS NOT NULL), false);

-- How many names the path of a folder has; 0: the root. NULL: no way leads from the folder to the root.
CREATE FUNCTION shardrive.folder_depth(owner bigint, folder uuid) RETURNS int
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (
    WITH RECURSIVE above (next_id, depth) AS (
        SELECT folder, 0
        UNION ALL
        SELECT f.parent_id, a.depth + 1
          FROM above AS a,
               LATERAL (SELECT parent_id FROM public.folders WHERE user_id = owner AND folder_id = a.next_id LIMIT 1) AS f
         WHERE a.depth < 200
    )
    SELECT above.depth - 1 FROM above WHERE above.next_id IS NULL
);

-- Whether a folder, or one below it, has a path of more than 128 names, or is in a cycle. `before` is how many names
-- the folder's path had: what is below has no more names than before, unless the folder has. Folders in the trash
-- count.
CREATE FUNCTION shardrive.is_too_deep(owner bigint, folder uuid, before int) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
DECLARE
    most  CONSTANT int := 128;
    depth int := shardrive.folder_depth(owner, folder);
BEGIN
    IF depth IS NULL OR depth > most OR depth <= before THEN
        RETURN depth IS NULL OR depth > most;
    END IF;
    RETURN EXISTS (
        WITH RECURSIVE below (folder_id, level) AS (
            SELECT folder, depth
            UNION ALL
            SELECT f.folder_id, b.level + 1
              FROM below AS b,
                   -- The offset keeps the order of the join, as both halves have an index by the parent.
                   LATERAL (
                        SELECT folder_id FROM public.folders WHERE user_id = owner AND parent_id = b.folder_id AND trashed_at IS NULL
                        UNION ALL
                        SELECT folder_id FROM public.folders WHERE user_id = owner AND parent_id = b.folder_id AND trashed_at IS NOT NULL
                        OFFSET 0
                   ) AS f
             WHERE b.level <= most
        )
        SELECT FROM below WHERE below.level > most
    );
END
$$;

-- The live folder under these names, from the root on. No row: there is none. A statement that joins this function gets
-- its query in place of a call.
CREATE FUNCTION shardrive.find_folder(owner bigint, names text[]) RETURNS TABLE (folder_id uuid)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    WITH RECURSIVE below (folder_id, depth) AS (
        SELECT f.folder_id, 0 FROM public.folders AS f
         WHERE f.user_id = owner AND f.folder_id = '00000000-0000-0000-0000-000000000000'
        UNION ALL
        SELECT f.folder_id, b.depth + 1
          FROM below AS b,
               -- The limit keeps the order of the join, also before the table has statistics: one step in the index for
               -- each name.
               LATERAL (SELECT folders.folder_id
                          FROM public.folders
                         WHERE user_id = owner AND parent_id = b.folder_id AND trashed_at IS NULL
                           AND shardrive.entry_key(folder_name) = shardrive.entry_key(names[b.depth + 1])
                         LIMIT 1) AS f
         WHERE b.depth < cardinality(names)
    )
    SELECT below.folder_id FROM below WHERE below.depth = cardinality(names);
END;

-- The same as a value; NULL: there is none.
CREATE FUNCTION shardrive.folder_at(owner bigint, names text[]) RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (SELECT folder_id FROM shardrive.find_folder(owner, names));

-- An id for a row of a user: as shardrive.new_file_id(), with the user's slot and the mark of the service's ids at the
-- end (docs/decisions/0003-file-ids.md).
CREATE FUNCTION shardrive.new_id_of(owner bigint) RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN (left(shardrive.new_file_id()::text, 26) || lpad(to_hex(shardrive.slot_of(owner)), 4, '0') || '5d4c1e')::uuid;

-- The live folders at these paths, each of an owner, in the order of the paths, with every folder on the way that is
-- missing: one statement for each depth. A file under one of the names is refused. `is_held`: the transaction holds the
-- drives alone already.
CREATE FUNCTION shardrive.make_folders_at(owners bigint[], paths text[], is_held boolean DEFAULT false) RETURNS uuid[]
LANGUAGE plpgsql AS $$
DECLARE
    root        CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    -- For each path, the folder under the names so far.
    reached     uuid[] := array_fill(root, ARRAY[cardinality(paths)]);
    below       uuid[];
    name_in_way text;
    path_in_way text;
BEGIN
    PERFORM shardrive.make_roots(owners);
    IF NOT is_held THEN
        -- Two requests that make the same folders in different orders would wait in a ring: the drive's makers of
        -- folders come one after the other, and after a mirror of the drive. Batches make the folders of their users in
        -- the order of the users.
        PERFORM pg_advisory_xact_lock(5041, hashint8(o.owner))
           FROM (SELECT DISTINCT owner FROM unnest(owners) AS u (owner) ORDER BY owner) AS o;
        PERFORM shardrive.hold_drives(ARRAY(SELECT DISTINCT shardrive.slot_of(owner) FROM unnest(owners) AS u (owner)), true);
    END IF;
    FOR depth IN 1..coalesce((SELECT max(cardinality(string_to_array(path, '/'))) FROM unnest(paths) AS p (path)), 0) LOOP
        LOOP
            -- Each statement sees what other requests have made meanwhile. The limit keeps the order of the join.
            SELECT array_agg(CASE WHEN split.name IS NULL THEN w.parent_id ELSE f.folder_id END ORDER BY w.place)
              INTO below
              FROM unnest(owners, paths, reached) WITH ORDINALITY AS w (owner, path, parent_id, place)
             CROSS JOIN LATERAL (SELECT (string_to_array(w.path, '/'))[depth] AS name) AS split
              LEFT JOIN LATERAL (
                    SELECT k.folder_id
                      FROM public.folders AS k
                     WHERE k.user_id = w.owner AND k.parent_id = w.parent_id AND k.trashed_at IS NULL
                       AND shardrive.entry_key(k.folder_name) = shardrive.entry_key(split.name)
                     LIMIT 1
                   ) AS f ON true;
            EXIT WHEN array_position(below, NULL) IS NULL;
            SELECT split.name, w.path INTO name_in_way, path_in_way
              FROM unnest(owners, paths, reached, below) AS w (owner, path, parent_id, folder_id)
             CROSS JOIN LATERAL (SELECT (string_to_array(w.path, '/'))[depth] AS name) AS split
             CROSS JOIN LATERAL (
                    SELECT FROM public.file_metadata AS k
                     WHERE k.user_id = w.owner AND k.folder_id = w.parent_id AND k.trashed_at IS NULL
                       AND shardrive.entry_key(k.file_name) = shardrive.entry_key(split.name)
                     LIMIT 1
                   ) AS f
             WHERE w.folder_id IS NULL
             LIMIT 1;
            IF FOUND THEN
                RAISE EXCEPTION '% is a file, and no folder', name_in_way
                    USING ERRCODE = 'unique_violation', CONSTRAINT = 'file_on_the_way', DETAIL = path_in_way;
            END IF;
            INSERT INTO public.folders (user_id, folder_id, parent_id, folder_name)
            SELECT missing.owner, shardrive.new_id_of(missing.owner), missing.parent_id, missing.name
              FROM (SELECT DISTINCT ON (w.owner, w.parent_id, shardrive.entry_key(split.name)) w.owner, w.parent_id, split.name
                      FROM unnest(owners, paths, reached, below) AS w (owner, path, parent_id, folder_id)
                     CROSS JOIN LATERAL (SELECT (string_to_array(w.path, '/'))[depth] AS name) AS split
                     WHERE w.folder_id IS NULL
                     ORDER BY w.owner, w.parent_id, shardrive.entry_key(split.name)) AS missing
            ON CONFLICT (user_id, parent_id, shardrive.entry_key(folder_name)) WHERE trashed_at IS NULL DO NOTHING;
        END LOOP;
        reached := below;
    END LOOP;
    RETURN reached;
END
$$;

-- The live folder under these names, from the root on, with every folder on the way that is missing. A file under one
-- of the names is refused.
CREATE FUNCTION shardrive.make_folders(owner bigint, names text[]) RETURNS uuid
LANGUAGE plpgsql AS $$
BEGIN
    RETURN coalesce(
        shardrive.folder_at(owner, coalesce(names, '{}')),
        (shardrive.make_folders_at(ARRAY[owner], ARRAY[array_to_string(names, '/')]))[1]
    );
END
$$;

-- The folder of a file with this path, whose missing folders are made; NULL for a file without a path.
CREATE FUNCTION shardrive.place_file(owner bigint, path text) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
    names text[] := string_to_array(path, '/');
BEGIN
    RETURN CASE WHEN path IS NOT NULL THEN shardrive.make_folders(owner, names[:cardinality(names) - 1]) END;
END
$$;

-- The path of a file; NULL for a file in no folder.
CREATE FUNCTION shardrive.file_path(owner bigint, folder uuid, file_name text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE WHEN folder IS NOT NULL THEN shardrive.folder_path(owner, folder) || file_name END;

-- The same for a statement that may have made folders itself: a stable function sees the tree as it was before the
-- statement.
CREATE FUNCTION shardrive.file_path_now(owner bigint, folder uuid, file_name text) RETURNS text
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN shardrive.file_path(owner, folder, file_name);
END
$$;

-- True if a file is in the trash, by itself or with a folder above it.
CREATE FUNCTION shardrive.is_trashed(owner bigint, folder uuid, trashed_at timestamptz) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN trashed_at IS NOT NULL OR (folder IS NOT NULL AND NOT shardrive.is_live(owner, folder));

-- Deletes folders of a user's trash for good, with all that is below, from the bottom up: at most `most` rows, so that
-- a large folder takes many calls. Returns the number of the deleted rows.
CREATE FUNCTION shardrive.purge_folders(owner bigint, tops uuid[], most int) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    gone      int := 0;
    row_count int;
    top       uuid;
    current   uuid;
    child     uuid;
BEGIN
    -- Restores and moves of the drive wait, and who puts files into the drive's folders.
    PERFORM FROM public.folders
      WHERE user_id = owner AND folder_id = '00000000-0000-0000-0000-000000000000' FOR UPDATE;
    PERFORM shardrive.hold_drives(ARRAY[shardrive.slot_of(owner)], true);
    -- What is about to go is in no listing of the trash, and cannot be restored. If the purge breaks off, the service
    -- goes on with it.
    UPDATE public.folders SET trashed_at = '-infinity'
     WHERE user_id = owner AND folder_id = ANY (tops) AND trashed_at > '-infinity';
    FOREACH top IN ARRAY tops LOOP
        CONTINUE WHEN NOT EXISTS (
            SELECT FROM public.folders WHERE user_id = owner AND folder_id = top AND trashed_at IS NOT NULL
        );
        WHILE gone < most LOOP
            current := top;
            FOR depth IN 1..200 LOOP
                -- The orders keep to the indexes: the planner takes the first row for near, and would look for it in
                -- the whole table.
                child := coalesce(
                    (SELECT folder_id FROM public.folders
                      WHERE user_id = owner AND parent_id = current AND trashed_at IS NULL
                      ORDER BY shardrive.entry_key(folder_name) LIMIT 1),
                    (SELECT folder_id FROM public.folders
                      WHERE user_id = owner AND parent_id = current AND trashed_at IS NOT NULL
                      ORDER BY folder_id LIMIT 1));
                EXIT WHEN child IS NULL;
                current := child;
            END LOOP;
            DELETE FROM public.file_metadata
             WHERE user_id = owner
               AND file_id IN (
                    (SELECT file_id FROM public.file_metadata
                      WHERE user_id = owner AND folder_id = current AND trashed_at IS NULL
                      ORDER BY shardrive.entry_key(file_name) LIMIT most - gone)
                    UNION ALL
                    (SELECT file_id FROM public.file_metadata
                      WHERE user_id = owner AND folder_id = current AND trashed_at IS NOT NULL
                      ORDER BY file_id LIMIT most - gone)
                   );
            GET DIAGNOSTICS row_count = ROW_COUNT;
            gone := gone + row_count;
            CONTINUE WHEN row_count > 0;
            DELETE FROM public.folders WHERE user_id = owner AND folder_id = current;
            gone := gone + 1;
            EXIT WHEN current = top;
        END LOOP;
        EXIT WHEN gone >= most;
    END LOOP;
    RETURN gone;
END
$$;

-- A folder keeps user and id. A change gets a new number and the present time.
CREATE FUNCTION shardrive.folder_touched() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.user_id <> OLD.user_id OR NEW.folder_id <> OLD.folder_id THEN
        RAISE EXCEPTION 'user_id and folder_id of a folder do not change'
            USING ERRCODE = 'SD008',
                  DETAIL = format('user %s, folder %s', OLD.user_id, OLD.folder_id),
                  HINT = 'INSERT a folder for the other user, then DELETE this row.';
    END IF;
    NEW.version := shardrive.next_version();
    IF NEW.updated_at = OLD.updated_at THEN
        NEW.updated_at := now();
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER folders_touch BEFORE UPDATE ON public.folders
    FOR EACH ROW EXECUTE FUNCTION shardrive.folder_touched();

-- The guard, as for files and documents; without counts. And a folder stands in a folder, beside no file of its name,
-- and is deleted after all that is in it.
CREATE FUNCTION shardrive.folders_changed() RETURNS trigger
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    changed_slots int[];
    placed_slots  int[];
    is_gone       boolean;
    rootless      bigint[];
    taken         text;
    is_too_deep   boolean;
    full_folder   text;
    has_entered   boolean := shardrive.enter_write();
BEGIN
    -- The user of a row does not change.
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(DISTINCT shardrive.slot_of(user_id)),
               array_agg(DISTINCT shardrive.slot_of(user_id)) FILTER (WHERE parent_id IS NOT NULL)
          INTO changed_slots, placed_slots
          FROM new_rows;
    ELSIF TG_OP = 'UPDATE' THEN
        SELECT array_agg(DISTINCT shardrive.slot_of(n.user_id)),
               array_agg(DISTINCT shardrive.slot_of(n.user_id)) FILTER (
                   WHERE n.parent_id <> o.parent_id
                      OR n.trashed_at IS NULL AND (n.folder_name, n.trashed_at) IS DISTINCT FROM (o.folder_name, o.trashed_at))
          INTO changed_slots, placed_slots
          FROM new_rows AS n
          JOIN old_rows AS o USING (user_id, folder_id);
    ELSE
        SELECT array_agg(DISTINCT shardrive.slot_of(user_id)) INTO changed_slots FROM old_rows;
    END IF;
    IF changed_slots IS NOT NULL AND shardrive.guard_slots(changed_slots, TG_OP = 'DELETE') THEN
        IF TG_OP = 'INSERT' THEN
            INSERT INTO shardrive.changed_keys (move_id, table_name, key)
            SELECT l.move_id, TG_TABLE_NAME, ARRAY[n.user_id::text, n.folder_id::text]
              FROM new_rows AS n
              JOIN shardrive.local_moves AS l ON get_bit(l.slots, shardrive.slot_of(n.user_id)) = 1;
        ELSE
            INSERT INTO shardrive.changed_keys (move_id, table_name, key)
            SELECT l.move_id, TG_TABLE_NAME, ARRAY[o.user_id::text, o.folder_id::text]
              FROM old_rows AS o
              JOIN shardrive.local_moves AS l ON get_bit(l.slots, shardrive.slot_of(o.user_id)) = 1;
        END IF;
    END IF;
    IF placed_slots IS NOT NULL THEN
        PERFORM shardrive.hold_drives(placed_slots, true);
        -- In a statement of its own, whose snapshot is taken after the locks.
        SELECT bool_or(parent.is_there IS NULL AND n.parent_id <> '00000000-0000-0000-0000-000000000000'),
               array_agg(n.user_id) FILTER (WHERE parent.is_there IS NULL), min(n.folder_name) FILTER (WHERE same.is_file)
          INTO is_gone, rootless, taken
          FROM new_rows AS n
          LEFT JOIN LATERAL (
                SELECT true AS is_there FROM public.folders AS k WHERE k.user_id = n.user_id AND k.folder_id = n.parent_id LIMIT 1
               ) AS parent ON true
          LEFT JOIN LATERAL (
                SELECT true AS is_file
                  FROM public.file_metadata AS k
                 WHERE n.trashed_at IS NULL AND k.user_id = n.user_id AND k.folder_id = n.parent_id AND k.trashed_at IS NULL
                   AND shardrive.entry_key(k.file_name) = shardrive.entry_key(n.folder_name)
                 LIMIT 1
               ) AS same ON true
         WHERE n.parent_id IS NOT NULL;
        PERFORM shardrive.refuse_gone(is_gone);
        IF rootless IS NOT NULL THEN
            PERFORM shardrive.make_roots(rootless);
        END IF;
        IF taken IS NOT NULL THEN
            RAISE EXCEPTION '% is a file, and no folder', taken
                USING ERRCODE = 'unique_violation', CONSTRAINT = 'file_on_the_way', DETAIL = taken;
        END IF;
        -- The parents of new folders tell as much, and are fewer.
        IF TG_OP = 'INSERT' THEN
            is_too_deep := EXISTS (
                SELECT FROM (SELECT DISTINCT user_id, parent_id FROM new_rows WHERE parent_id IS NOT NULL) AS p
                 WHERE coalesce(shardrive.folder_depth(p.user_id, p.parent_id), 128) >= 128
            );
        ELSE
            is_too_deep := EXISTS (
                SELECT FROM new_rows AS n
                  JOIN old_rows AS o USING (user_id, folder_id)
                 WHERE n.parent_id <> o.parent_id
                   AND shardrive.is_too_deep(n.user_id, n.folder_id, shardrive.folder_depth(o.user_id, o.parent_id) + 1)
            );
        END IF;
        IF is_too_deep THEN
            RAISE EXCEPTION 'a folder would be deeper than 128 folders, or stand in itself'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'folders_depth_check',
                      HINT = 'Give it a parent_id nearer to the root.';
        END IF;
    END IF;
    IF TG_OP = 'DELETE' AND changed_slots IS NOT NULL AND current_setting('shardrive.clean_up', true) IS DISTINCT FROM 'on' THEN
        PERFORM shardrive.hold_drives(changed_slots, true);
        -- Both states of trashed_at, as each has an index of its own.
        SELECT format('user %s, folder %s', o.user_id, o.folder_id) INTO full_folder
          FROM old_rows AS o
         WHERE EXISTS (SELECT FROM public.file_metadata AS k
                        WHERE k.user_id = o.user_id AND k.folder_id = o.folder_id AND k.trashed_at IS NULL)
            OR EXISTS (SELECT FROM public.file_metadata AS k
                        WHERE k.user_id = o.user_id AND k.folder_id = o.folder_id AND k.trashed_at IS NOT NULL)
            OR EXISTS (SELECT FROM public.folders AS k
                        WHERE k.user_id = o.user_id AND k.parent_id = o.folder_id AND k.trashed_at IS NULL)
            OR EXISTS (SELECT FROM public.folders AS k
                        WHERE k.user_id = o.user_id AND k.parent_id = o.folder_id AND k.trashed_at IS NOT NULL)
         LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'a folder with files or folders in it is not deleted'
                USING ERRCODE = 'restrict_violation',
                      DETAIL = full_folder,
                      HINT = 'DELETE first what is in it, or all of its folders in one statement after their files.';
        END IF;
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER folders_inserted AFTER INSERT ON public.folders
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION shardrive.folders_changed();
CREATE TRIGGER folders_updated AFTER UPDATE ON public.folders
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION shardrive.folders_changed();
CREATE TRIGGER folders_deleted AFTER DELETE ON public.folders
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION shardrive.folders_changed();

CREATE FUNCTION shardrive.folders_truncated() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM shardrive.enter_truncate();
    IF EXISTS (SELECT FROM public.file_metadata WHERE folder_id IS NOT NULL) THEN
        RAISE EXCEPTION 'folders with files in them are not deleted'
            USING ERRCODE = 'restrict_violation', HINT = 'TRUNCATE folders, file_metadata empties both.';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER folders_truncated AFTER TRUNCATE ON public.folders
    FOR EACH STATEMENT EXECUTE FUNCTION shardrive.folders_truncated();

-- Events of folders, in the order of the events of the user's files. The root is no event.
CREATE FUNCTION shardrive.record_folder_events() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO shardrive.outbox (slot, kind, user_id, folder_id)
        SELECT shardrive.slot_of(user_id), 'folder.created', user_id, folder_id FROM new_rows WHERE parent_id IS NOT NULL;
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO shardrive.outbox (slot, kind, user_id, folder_id)
        SELECT shardrive.slot_of(n.user_id), 'folder.' || shardrive.kind_of_change(o.trashed_at, n.trashed_at), n.user_id, n.folder_id
          FROM new_rows AS n
          JOIN old_rows AS o USING (user_id, folder_id)
         -- The mark of a purge is no change that anybody sees.
         WHERE n.parent_id IS NOT NULL AND n.trashed_at IS DISTINCT FROM '-infinity';
    ELSIF current_setting('shardrive.clean_up', true) IS DISTINCT FROM 'on' THEN
        INSERT INTO shardrive.outbox (slot, kind, user_id, folder_id)
        SELECT shardrive.slot_of(user_id), 'folder.deleted', user_id, folder_id FROM old_rows WHERE parent_id IS NOT NULL;
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER folders_outbox_inserts AFTER INSERT ON public.folders
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION shardrive.record_folder_events();
CREATE TRIGGER folders_outbox_updates AFTER UPDATE ON public.folders
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION shardrive.record_folder_events();
CREATE TRIGGER folders_outbox_deletes AFTER DELETE ON public.folders
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION shardrive.record_folder_events();

ALTER TABLE public.folders DISABLE TRIGGER folders_outbox_inserts;
ALTER TABLE public.folders DISABLE TRIGGER folders_outbox_updates;
ALTER TABLE public.folders DISABLE TRIGGER folders_outbox_deletes;

-- Files with their whole paths, for people: what a listing shows. A file in no folder has its name as its path.
CREATE VIEW public.files AS
SELECT user_id, coalesce(shardrive.file_path(user_id, folder_id, file_name), file_name) AS path, file_name, size_bytes, mime_type,
       checksum, modified_at, created_at, updated_at, shardrive.is_trashed(user_id, folder_id, trashed_at) AS trashed, folder_id,
       file_id, content_ref
  FROM public.file_metadata;
COMMENT ON VIEW public.files IS 'Files with their whole paths. Each path is looked up: ask for a user, or for few rows.';
