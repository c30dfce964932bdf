-- The differences between a drive and a listing. `is_top`: no folder above the entry goes with it.
CREATE TEMPORARY TABLE mirror_changes (
    change      text    NOT NULL,
    is_folder   boolean NOT NULL,
    path        text COLLATE "C" NOT NULL,
    entry_id    uuid    NOT NULL,
    folder_id   uuid,
    entry_name  text COLLATE "C",
    mime_type   text,
    checksum    text,
    size_bytes  bigint,
    modified_at timestamptz,
    is_top      boolean NOT NULL
)
