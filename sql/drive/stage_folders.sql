-- The folders of a mirror: those that the listing names or needs, those of the drive, and those that are both.
CREATE TEMPORARY TABLE mirrored_folders (
    path_key    text COLLATE "C" NOT NULL,
    path        text COLLATE "C" NOT NULL,
    parent_key  text COLLATE "C",
    folder_name text COLLATE "C" NOT NULL,
    folder_id   uuid    NOT NULL,
    is_there    boolean NOT NULL,
    is_wanted   boolean NOT NULL,
    -- The folder of the listing, or a folder below it.
    is_inside   boolean NOT NULL,
    is_renamed  boolean NOT NULL
)
