-- The folders of a listing: those that it names, and those around its files. A folder may stand there under several
-- numbers.
CREATE TEMPORARY TABLE listed_folders (
    folder    integer NOT NULL,
    path      text COLLATE "C" NOT NULL,
    -- Of the folder in mirrored_folders, once the two are matched.
    folder_id uuid
)
