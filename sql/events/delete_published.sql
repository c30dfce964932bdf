-- Deletes published events, which the broker has on disk.
DELETE FROM shardrive.outbox WHERE id = ANY ($1)
