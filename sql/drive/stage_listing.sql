-- The entries of a listing, for one mirror: only this connection sees them. `around` is the path of the folder around the entry.
CREATE TEMPORARY TABLE listing (
    record      bigint  NOT NULL,
    line        bigint  NOT NULL,
    file_id     uuid    NOT NULL,
    around      text COLLATE "C" NOT NULL,
    entry_name  text COLLATE "C" NOT NULL,
    is_folder   boolean NOT NULL,
    mime_type   text,
    checksum    text,
    size_bytes  bigint,
    modified_at timestamptz,
    fault       text
)
