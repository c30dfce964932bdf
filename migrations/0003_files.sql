-- What a drive knows about its users' files.

-- The id of a row that was inserted without an id, as by hand in psql: a UUIDv7 (RFC 9562, section 5.7), so that
-- ids sort by their time. The ids that the service mints carry the slot as well (docs/decisions/0003-file-ids.md).
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

-- COLLATE "C": the order of names must not depend on the machine's locale.
CREATE TABLE public.file_metadata (
    user_id     bigint      NOT NULL,
    file_id     uuid        NOT NULL DEFAULT shardrive.new_file_id(),
    file_name   text COLLATE "C" NOT NULL,
    path        text COLLATE "C",
    mime_type   text,
    checksum    text,
    size_bytes  bigint,
    modified_at timestamptz,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),

    -- The user first: rows of a user lie together, and a move's row filter finds user_id in the replica identity.
    CONSTRAINT file_metadata_pkey PRIMARY KEY (user_id, file_id),
    -- A file is found by its id alone.
    CONSTRAINT file_metadata_file_id_key UNIQUE (file_id),
    CONSTRAINT file_metadata_user_id_check CHECK (user_id >= 0),
    CONSTRAINT file_metadata_file_name_check CHECK (file_name <> ''),
    CONSTRAINT file_metadata_size_bytes_check CHECK (size_bytes >= 0),
    CONSTRAINT file_metadata_path_check CHECK (
        path IS NULL OR path = file_name OR right(path, length(file_name) + 1) = '/' || file_name
    ),
    CONSTRAINT file_metadata_copy_brake CHECK (
        uuid_hash(file_id) & 255 <> 0 OR shardrive.brake_copy((user_id % 5040)::int, 256)
    )
);
COMMENT ON TABLE  public.file_metadata IS 'One row for each file of the users whose slots this shard owns.';
COMMENT ON COLUMN public.file_metadata.path IS 'The whole path in the user''s drive, ending in file_name. NULL: the name is the path.';
COMMENT ON COLUMN public.file_metadata.size_bytes IS 'NULL: unknown.';
COMMENT ON COLUMN public.file_metadata.modified_at IS 'When the content last changed, as the client tells it.';

-- A move reads the rows of its slots alone (docs/decisions/0026-slot-index.md).
CREATE INDEX file_metadata_slot_idx ON public.file_metadata ((user_id % 5040));

CREATE FUNCTION shardrive.touch_updated_at() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

CREATE TRIGGER file_metadata_touch
    BEFORE UPDATE ON public.file_metadata
    FOR EACH ROW WHEN (NEW.updated_at = OLD.updated_at)
    EXECUTE FUNCTION shardrive.touch_updated_at();
