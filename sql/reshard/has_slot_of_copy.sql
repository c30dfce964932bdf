-- Whether there is a slot whose name begins so.
SELECT EXISTS (SELECT FROM pg_replication_slots WHERE starts_with(slot_name::text, $1))
