-- Records how an action ended.
UPDATE shardrive.audit_log SET outcome = $2, code = $3, ended_at = clock_timestamp() WHERE id = $1 AND outcome = 'begun'
