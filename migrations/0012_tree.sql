-- A drive in the order of whole paths: a walk through the tree by its indexes (docs/decisions/0031-listings.md).
-- In this order a folder stands as its path with a slash at the end, so that a-b comes before what is below a.

-- A name is looked up by folders_name_idx. Before the table has statistics, the planner would take either index for
-- that, and read all folders of the parent by this one: a statement that wants this index says that the name is not
-- empty.
CREATE INDEX folders_tree_idx ON public.folders (user_id, parent_id, (shardrive.entry_key(folder_name) || '/'))
    WHERE trashed_at IS NULL AND folder_name <> '';

-- An entry of a listing of the tree. The path of a folder ends in a slash.
CREATE TYPE shardrive.tree_entry AS (
    path        text,
    is_folder   boolean,
    entry_id    uuid,
    mime_type   text,
    checksum    text,
    size_bytes  bigint,
    modified_at timestamptz,
    version     bigint,
    created_at  timestamptz,
    updated_at  timestamptz,
    content_ref text
);

-- The entries below a live folder whose path is `around`, at most `most`, in the order of their paths in NFC.
-- `name_prefix` begins the name of each entry of the folder itself. The walk goes on behind the path `after`, which is
-- relative to the folder. It leaves out what is deeper unless `is_deep`. The work grows with the entries that come out,
-- not with the drive.
CREATE FUNCTION shardrive.walk_tree(
    owner bigint, folder uuid, around text, name_prefix text, after text, is_deep boolean, most int
) RETURNS SETOF shardrive.tree_entry
LANGUAGE plpgsql STABLE AS $$
DECLARE
    first_name text := split_part(after, '/', 1);
    from_key   text := after;
    -- Above every name with the prefix.
    upto_key   text := name_prefix || repeat(chr(1114111), 2);
    inside     record;
    row_count  bigint;
    entry      shardrive.tree_entry;
BEGIN
    IF strpos(after, '/') > 0 THEN
        from_key := first_name || '/';
        IF is_deep AND starts_with(first_name, name_prefix) THEN
            SELECT f.folder_id, f.folder_name INTO inside
              FROM public.folders AS f
             WHERE f.user_id = owner AND f.parent_id = folder AND f.trashed_at IS NULL
               AND shardrive.entry_key(f.folder_name) = first_name;
            IF FOUND THEN
                RETURN QUERY
                SELECT * FROM shardrive.walk_tree(
                    owner, inside.folder_id, around || inside.folder_name || '/', '', substr(after, length(from_key) + 1), true, most
                );
                GET DIAGNOSTICS row_count = ROW_COUNT;
                most := most - row_count;
            END IF;
        END IF;
    END IF;
    IF most <= 0 THEN
        RETURN;
    END IF;
    FOR entry IN
        SELECT child.path, child.is_folder, child.id, child.mime_type, child.checksum, child.size_bytes, child.modified_at,
               child.version, child.created_at, child.updated_at, child.content_ref
          FROM (
                (SELECT shardrive.entry_key(f.folder_name) || '/' AS sort_key, around || f.folder_name || '/' AS path,
                        true AS is_folder, f.folder_id AS id, NULL::text AS mime_type, NULL::text AS checksum,
                        NULL::bigint AS size_bytes, NULL::timestamptz AS modified_at, f.version, f.created_at, f.updated_at, NULL::text AS content_ref
                   FROM public.folders AS f
                  WHERE f.user_id = owner AND f.parent_id = folder AND f.trashed_at IS NULL AND f.folder_name <> ''
                    AND shardrive.entry_key(f.folder_name) || '/' > from_key
                    AND shardrive.entry_key(f.folder_name) || '/' BETWEEN name_prefix AND upto_key
                  ORDER BY 1
                  LIMIT most)
                UNION ALL
                (SELECT shardrive.entry_key(f.file_name), around || f.file_name,
                        false, f.file_id, f.mime_type, f.checksum,
                        f.size_bytes, f.modified_at, f.version, f.created_at, f.updated_at, f.content_ref
                   FROM public.file_metadata AS f
                  WHERE f.user_id = owner AND f.folder_id = folder AND f.trashed_at IS NULL
                    AND shardrive.entry_key(f.file_name) > from_key
                    AND shardrive.entry_key(f.file_name) BETWEEN name_prefix AND upto_key
                  ORDER BY 1
                  LIMIT most)
                ORDER BY 1
                LIMIT most
               ) AS child
         ORDER BY child.sort_key
    LOOP
        EXIT WHEN most <= 0;
        RETURN NEXT entry;
        most := most - 1;
        IF entry.is_folder AND is_deep AND most > 0 THEN
            RETURN QUERY SELECT * FROM shardrive.walk_tree(owner, entry.entry_id, entry.path, '', '', true, most);
            GET DIAGNOSTICS row_count = ROW_COUNT;
            most := most - row_count;
        END IF;
    END LOOP;
END
$$;

-- The entries of a drive whose paths begin with a prefix and stand behind the path `after`, at most `most`, in the
-- order of their paths. Of a folder that the prefix does not name whole, only what `is_deep` asks for.
CREATE FUNCTION shardrive.list_tree(owner bigint, prefix text, after text, is_deep boolean, most int)
RETURNS SETOF shardrive.tree_entry
LANGUAGE plpgsql STABLE AS $$
DECLARE
    names       text[] := string_to_array(shardrive.entry_key(prefix), '/');
    name_prefix text   := coalesce(names[cardinality(names)], '');
    start       text   := shardrive.entry_key(after);
    around      text   := left(shardrive.entry_key(prefix), length(shardrive.entry_key(prefix)) - length(name_prefix));
    base        uuid   := shardrive.folder_at(owner, coalesce(names[:cardinality(names) - 1], '{}'));
    base_path   text   := shardrive.folder_path(owner, base);
    entry       shardrive.tree_entry;
BEGIN
    IF base IS NULL THEN
        RETURN;
    END IF;
    IF around <> '' AND name_prefix = '' AND start COLLATE "C" < around THEN
        SELECT base_path, true, f.folder_id, NULL, NULL, NULL, NULL, f.version, f.created_at, f.updated_at, NULL
          INTO entry
          FROM public.folders AS f
         WHERE f.user_id = owner AND f.folder_id = base;
        RETURN NEXT entry;
        most := most - 1;
    END IF;
    IF starts_with(start, around) THEN
        start := substr(start, length(around) + 1);
    ELSIF start COLLATE "C" < around THEN
        start := '';
    ELSE
        RETURN;
    END IF;
    RETURN QUERY SELECT * FROM shardrive.walk_tree(owner, base, base_path, name_prefix, start, is_deep, most);
END
$$;
