-- The slots of the copies that a subscription with this number made, if they were cut off.
SELECT slot_name::text FROM pg_replication_slots WHERE slot_name LIKE 'pg\_' || $1::text || '\_sync\_%'
