-- The slots of interrupted copies of the subscription with this number.
SELECT slot_name::text FROM pg_replication_slots WHERE slot_name LIKE 'pg\_' || $1::text || '\_sync\_%'
