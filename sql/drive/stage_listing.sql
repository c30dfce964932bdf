-- The files of a listing, for one mirror: only this connection sees them. `folder` is the number of the folder around
-- the file.
CREATE TEMPORARY TABLE listing (
    record      bigint  NOT NULL,
    line        bigint  NOT NULL,
    file_id     uuid    NOT NULL,
    folder      integer NOT NULL,
    file_name   text COLLATE "C" NOT NULL,
    mime_type   text,
    checksum    text,
    size_bytes  bigint,
    modified_at timestamptz,
    fault       text
)
