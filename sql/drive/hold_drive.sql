-- Keeps others from putting entries into folders of the drive until the end of the transaction.
SELECT shardrive.hold_drives(ARRAY[$1], true)::text
