-- These were told: the broker has them on its disk.
DELETE FROM shardrive.outbox WHERE id = ANY ($1)
