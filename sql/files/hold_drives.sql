-- Keeps the folders of these slots' drives as they are until the end of the transaction.
SELECT shardrive.hold_drives($1, true)::text
