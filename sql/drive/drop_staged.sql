-- Drops what an earlier mirror left on this connection.
DROP TABLE IF EXISTS pg_temp.listing, pg_temp.listed_folders, pg_temp.mirrored_folders, pg_temp.mirror_changes
