-- The files of users: names, paths, types, sizes, times.

-- The id of a row that was inserted without an id, as by hand in psql: a UUIDv7 (RFC 9562, section 5.7), so that
-- ids sort by time. Ids from the service carry the slot as well (docs/decisions/0003-file-ids.md).
CREATE FUNCTION shardrive.new_file_id() RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN encode(
    set_byte(
        overlay(
            uuid_send(gen_random_uuid())
            PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
            FROM 1 FOR 6
        ),
        6,
        (get_byte(uuid_send(gen_random_uuid()), 6) & 15) | 112
    ),
    'hex'
)::uuid;

-- The slot that an id carries; NULL: the service did not mint the id (docs/decisions/0003-file-ids.md).
CREATE FUNCTION shardrive.slot_in(file_id uuid) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN file_id::text ~ '^.{14}7.{15}5d4c1e$'
            THEN nullif(least(('x' || substr(file_id::text, 27, 4))::bit(16)::int, 5040), 5040) END;

-- Numbers of changes: each change of a folder or a file of this shard gets a higher number than the changes before it.
CREATE SEQUENCE shardrive.version;

-- The number of a change. The transaction has its id before the number: when all transactions with older ids have
-- ended, all numbers up to this one are decided.
CREATE FUNCTION shardrive.next_version() RETURNS bigint
LANGUAGE sql VOLATILE
RETURN CASE WHEN pg_current_xact_id() IS NOT NULL THEN nextval('shardrive.version') END;

-- Lets numbers of later changes begin above `newest`. Others may take numbers meanwhile, far fewer than the margin.
CREATE FUNCTION shardrive.raise_version(newest bigint) RETURNS void
LANGUAGE sql VOLATILE
BEGIN ATOMIC
    SELECT setval('shardrive.version', newest + 1000000) FROM shardrive.version WHERE last_value <= newest;
END;

-- The name under which an entry is found: NFC (Unicode Standard Annex 15), so that a name typed on a Mac and on Linux
-- is one name.
CREATE FUNCTION shardrive.entry_key(entry_name text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
-- ASCII is its own normal form, which a comparison of two lengths tells in a tenth of the time.
RETURN CASE WHEN octet_length(entry_name) = char_length(entry_name) THEN entry_name ELSE normalize(entry_name, NFC) END;

-- The limits of src/files/limits.rs, which maps a constraint's name to the field in a client's answer. They are types,
-- because a statement reads each CHECK of its table anew, which took a fifth of a lone INSERT's time, and a session
-- knows the checks of types (docs/decisions/0009-where-the-time-goes.md).
-- COLLATE "C": the order of names must not depend on the machine's locale.
CREATE DOMAIN shardrive.file_name AS text COLLATE "C" CONSTRAINT file_metadata_file_name_check CHECK (
    octet_length(VALUE) BETWEEN 1 AND 1024 AND strpos(VALUE, '/') = 0
);
CREATE DOMAIN shardrive.mime_type AS text CONSTRAINT file_metadata_mime_type_check CHECK (octet_length(VALUE) <= 255);
CREATE DOMAIN shardrive.checksum AS text CONSTRAINT file_metadata_checksum_check CHECK (octet_length(VALUE) <= 255);
CREATE DOMAIN shardrive.content_ref AS text CONSTRAINT file_metadata_content_ref_check CHECK (octet_length(VALUE) <= 1024);
CREATE DOMAIN shardrive.file_size AS bigint CONSTRAINT file_metadata_size_bytes_check CHECK (VALUE >= 0);
-- The years that RFC 3339 can write and every client can read; neither infinity.
CREATE DOMAIN shardrive.file_time AS timestamptz CONSTRAINT file_metadata_times_check CHECK (
    VALUE >= '0001-01-01T00:00:00Z' AND VALUE < '10000-01-01T00:00:00Z'
);

CREATE TABLE public.file_metadata (
    -- Never negative, by a trigger (0005_counts.sql). No type of its own: the row filter of a move takes none.
    user_id     bigint               NOT NULL,
    file_id     shardrive.row_id     NOT NULL DEFAULT shardrive.new_file_id(),
    file_name   shardrive.file_name  NOT NULL,
    mime_type   shardrive.mime_type,
    checksum    shardrive.checksum,
    size_bytes  shardrive.file_size,
    modified_at shardrive.file_time,
    created_at  shardrive.file_time  NOT NULL DEFAULT now(),
    updated_at  shardrive.file_time  NOT NULL DEFAULT now(),
    folder_id   uuid,
    trashed_at  shardrive.file_time,
    version     bigint               NOT NULL DEFAULT shardrive.next_version(),
    content_ref shardrive.content_ref,

    -- The user first: rows of a user lie together, and a move's row filter finds user_id in the replica identity.
    -- An id is unique within its user: no shard knows the ids of users on other shards.
    -- The entries hold all that a page shows, so that a page is read from this index alone
    -- (docs/decisions/0034-wide-key.md). An entry with the longest texts of all fields takes 2,672 bytes, and
    -- PostgreSQL refuses one of more than 2,704.
    CONSTRAINT file_metadata_pkey PRIMARY KEY (user_id, file_id) INCLUDE (
        file_name, folder_id, mime_type, checksum, size_bytes, modified_at, created_at, updated_at, trashed_at, content_ref
    )
)
-- A page reads the table for rows that no vacuum has seen. A vacuum of new rows alone is short: it passes over the
-- others.
WITH (autovacuum_vacuum_insert_scale_factor = 0.05);
COMMENT ON TABLE  public.file_metadata IS 'One row for each file of the users whose slots this shard owns.';
COMMENT ON COLUMN public.file_metadata.folder_id IS 'The folder around the file; the nil UUID is the root. NULL: the file is in no folder, and its name is free.';
COMMENT ON COLUMN public.file_metadata.trashed_at IS 'When the file was put into the trash.';
COMMENT ON COLUMN public.file_metadata.version IS 'The number of the last change, from a sequence of the shard.';
COMMENT ON COLUMN public.file_metadata.content_ref IS 'Where the content is stored, in the words of the client; never read here.';
COMMENT ON COLUMN public.file_metadata.size_bytes IS 'NULL: unknown.';
COMMENT ON COLUMN public.file_metadata.modified_at IS 'When the content last changed, from the client.';

-- A request without a user finds a file by the id alone.
CREATE INDEX file_metadata_file_id_idx ON public.file_metadata (file_id);

-- One entry of a folder has a name. Files without a folder may have any names.
CREATE UNIQUE INDEX file_metadata_name_idx
    ON public.file_metadata (user_id, folder_id, shardrive.entry_key(file_name))
    WHERE folder_id IS NOT NULL AND trashed_at IS NULL;

-- The trash of a user, newest first.
CREATE INDEX file_metadata_trash_idx ON public.file_metadata (user_id, trashed_at, file_id) WHERE trashed_at IS NOT NULL;

-- What is in the trash by itself, by the folder around it: for the purge of that folder.
CREATE INDEX file_metadata_trashed_in_idx ON public.file_metadata (user_id, folder_id, file_id) WHERE trashed_at IS NOT NULL;

-- A move reads the rows of the moving slots alone (docs/decisions/0026-slot-index.md).
CREATE INDEX file_metadata_slot_idx ON public.file_metadata ((user_id % 5040));

-- A row keeps user and id: an id carries the slot of the user, and a request without a user would not find the changed
-- row. Moves bring rows unchanged, by a role whose triggers do not fire.
CREATE FUNCTION shardrive.refuse_other_file() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'user_id and file_id of a file do not change'
        USING ERRCODE = 'SD008',
              DETAIL = format('user %s, file %s', OLD.user_id, OLD.file_id),
              HINT = 'INSERT the file for the other user without a file_id, then DELETE this row.';
END
$$;

CREATE TRIGGER file_metadata_same_file BEFORE UPDATE ON public.file_metadata
    FOR EACH ROW WHEN (NEW.user_id <> OLD.user_id OR NEW.file_id <> OLD.file_id)
    EXECUTE FUNCTION shardrive.refuse_other_file();

-- A change gets a new number and the present time.
CREATE FUNCTION shardrive.file_touched() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := shardrive.next_version();
    IF NEW.updated_at = OLD.updated_at THEN
        NEW.updated_at := now();
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER file_metadata_touch BEFORE UPDATE ON public.file_metadata
    FOR EACH ROW EXECUTE FUNCTION shardrive.file_touched();
