-- Whether there is a replication slot of this name.
SELECT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1)
